"""The trainer of a run file: it looks around before it builds a model, and tells where a bad loss came up."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchtitan.distributed import ParallelDims

from finetune_trainer.contract.failure import ConfigurationError, Reason
from finetune_trainer.data.loader import PackedDataLoader
from finetune_trainer.train.preflight import Preflight, check_machine, check_peers
from finetune_trainer.train.trainer import LoRATrainer

NAMED_LINES = 20


class RunTrainer(LoRATrainer):
    @dataclass(kw_only=True, slots=True)
    class Config(LoRATrainer.Config):
        preflight: Preflight

    def __init__(self, config: Config) -> None:
        if config.preflight.enable:
            check_machine(config.preflight, _token_folders(config))
        super().__init__(config)

    def init_distributed(self) -> ParallelDims:
        """Meet the other processes. Raises ConfigurationError if they are not those of the run."""
        dimensions = super().init_distributed()
        if self.config.preflight.enable:
            check_peers(self.config.preflight)
        return dimensions

    def train_step(self, data_iterator: Iterator[Any]) -> None:
        before = self.dataloader.state_dict()
        try:
            super().train_step(data_iterator)
        except ConfigurationError as error:
            if "not finite" not in error.message:
                raise
            raise self._diverged(error, before) from error.__cause__

    def _diverged(self, error: ConfigurationError, before: dict[str, Any]) -> ConfigurationError:
        """The failure of a loss that is not finite, with what is needed to find the reason."""
        self.checkpointer.writer.wait()
        saved = self.checkpointer.last_saved
        lines = self.dataloader.lines_since(before) if isinstance(self.dataloader, PackedDataLoader) else []
        named = ", ".join(map(str, lines[:NAMED_LINES])) + (", ..." if len(lines) > NAMED_LINES else "")
        return ConfigurationError(
            f"{error.message}; the last good checkpoint is {f'step-{saved}' if saved else 'none'}"
            + (f"; the step's batch has the dataset's lines {named}" if named else ""),
            Reason.LOSS_NOT_FINITE,
            remedy="Look at these lines; lower training.learningRate or training.maxGradNorm, or raise "
            "training.warmupSteps",
        )


def _token_folders(config: RunTrainer.Config) -> list[Path]:
    """What prepare has tokenized, if the run trains on that."""
    loader = config.dataloader
    packed = isinstance(loader, PackedDataLoader.Config)
    return [Path(loader.dataset_path)] if packed and loader.dataset_path else []
