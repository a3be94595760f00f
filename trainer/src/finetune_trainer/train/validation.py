"""The loss on what was kept out of training: before training, at an interval, of each source."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from torchtitan.components.dataloader import BaseDataLoader
from torchtitan.components.validate import Validator

from finetune_trainer.data.loader import PackedDataLoader, held_out_parts
from finetune_trainer.train.metrics import ProgressMetrics


class HeldOutValidator(Validator):
    """torchtitan's validator, source by source: the loss of all is the mean over their tokens, or pairs.

    A step that is no multiple of the interval is not validated, the first one neither: the trainer asks for
    one before it (train/trainer.py).
    """

    @dataclass(kw_only=True, slots=True)
    class Config(Validator.Config):
        pass

    def __init__(self, config: Config, *, metrics_processor: ProgressMetrics, **options: Any) -> None:
        super().__init__(config, metrics_processor=metrics_processor, **options)
        self._metrics = metrics_processor
        self._data: BaseDataLoader.Config = replace(config.dataloader, infinite=config.steps != -1)

    def should_validate(self, step: int) -> bool:
        return bool(step % self.config.freq == 0)

    def validate(self, model_parts: list[nn.Module], step: int) -> None:
        """Measure, and have the metrics tell it. Every rank calls this."""
        losses, weights = {}, {}
        for name, counted, own in _by_source(self._data):
            self.dl_config = own
            losses[name], weights[name] = self._loss(model_parts, step), counted
        mean = math.fsum(losses[name] * weights[name] for name in losses) / sum(weights.values())
        by_source = losses if len(losses) > 1 else {}
        self._metrics.log_validation(mean, step, by_source=by_source)

    def _loss(self, model_parts: list[nn.Module], step: int) -> float:
        """What torchtitan's validator tells of the loader that is set."""
        heard = _Heard()
        self.metrics_processor = heard
        super().validate(model_parts, step)
        self._metrics.ntokens_since_last_log += heard.ntokens_since_last_log
        return self._metrics.known_loss(heard.loss)


@dataclass
class _Heard:
    """Stands where torchtitan's validator has its metrics, and keeps what it tells them."""

    ntokens_since_last_log: int = 0
    loss: float = math.nan

    def log_validation(self, *, loss: float, **_: Any) -> None:
        self.loss = loss


def _by_source(config: Any) -> Iterator[tuple[str, int, Any]]:
    """Name, tokens or pairs that the loss counts, and loader of each source; a loader of others' is one."""
    if not isinstance(config, PackedDataLoader.Config):
        yield "", 1, config
        return
    for number, part in enumerate(held_out_parts(config)):
        if part.counted:
            yield part.name, part.counted, replace(config, source=number)
