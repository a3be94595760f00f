"""torchtitan's metrics, also recorded as the run's progress."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torchtitan.components.metrics import MetricsProcessor
from torchtitan.tools.logging import logger

from finetune_trainer.distributed.agreement import gather_numbers, greatest
from finetune_trainer.model.stopwatch import ATTENTION
from finetune_trainer.train.expert_load import ExpertLoad, expert_load
from finetune_trainer.train.rewards import Rewards
from finetune_trainer.train.samples import SamplesRecord
from finetune_trainer.train.straggler import SlowestRank, slowest_rank


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """What one logged step says of the run. tokens_per_second counts all processes."""

    step: int
    loss: float
    grad_norm: float
    learning_rate: float
    tokens_per_second: float
    expert_load: ExpertLoad | None = None
    slowest: SlowestRank | None = None
    rewards: Rewards | None = None
    """Of preference pairs."""


@dataclass(frozen=True, kw_only=True)
class ValidationRecord:
    """The loss on the documents that were kept out of training; step 0 is before training."""

    step: int
    loss: float
    by_source: Mapping[str, float] = field(default_factory=dict)
    """Of each source's documents, where there are several sources."""
    rewards: Rewards | None = None


Record = StepRecord | ValidationRecord | SamplesRecord


class ProgressMetrics(MetricsProcessor):
    """Hands each logged step to `recorders`, on every rank, with the loss also where a pipeline has none."""

    @dataclass(kw_only=True, slots=True)
    class Config(MetricsProcessor.Config):
        pass

    def __init__(self, config: Config, *, dump_folder: str, **settings: Any) -> None:
        if config.enable_wandb:
            os.environ |= wandb_identity(Path(dump_folder)) | os.environ
        super().__init__(config, dump_folder=dump_folder, **settings)
        self.recorders: list[Callable[[Record], None]] = []
        self.on_validation: Callable[[int, float], None] = lambda _step, _loss: None
        """Called on every rank alike, before the recorders."""
        self.take_rewards: Callable[[], Rewards | None] = lambda: None
        """What preference pairs got since this was last asked."""

    def log(
        self,
        step: int,
        global_avg_loss: float,
        global_max_loss: float,
        grad_norm: float,
        extra_metrics: dict[str, Any] | None = None,
    ) -> None:
        global_avg_loss = self.known_loss(global_avg_loss)
        slowest, load = self._unevenness()
        rewards = self.take_rewards()
        self._tell(
            StepRecord(
                step=step,
                loss=global_avg_loss,
                grad_norm=grad_norm,
                learning_rate=_learning_rate(extra_metrics or {}),
                tokens_per_second=self._tokens_per_second(),
                expert_load=load,
                slowest=slowest,
                rewards=rewards,
            )
        )
        told = (extra_metrics or {}) | _scalars(slowest, load) | _of_pairs(rewards)
        super().log(step, global_avg_loss, global_max_loss, grad_norm, told)

    def log_validation(
        self,
        loss: float,
        step: int,
        extra_metrics: dict[str, Any] | None = None,
        by_source: Mapping[str, float] | None = None,
    ) -> None:
        """Losses as `known_loss` has them."""
        by_source, rewards = by_source or {}, self.take_rewards()
        self.on_validation(step, loss)
        self._tell(ValidationRecord(step=step, loss=loss, by_source=by_source, rewards=rewards))
        told = {f"validation_metrics/loss/{name}": value for name, value in by_source.items()}
        told |= {f"validation_metrics/{name}": value for name, value in _of_pairs(rewards).items()}
        super().log_validation(loss, step, (extra_metrics or {}) | told)

    def record_samples(self, record: SamplesRecord) -> None:
        """What was generated at a step; every rank has all of it."""
        for sample in record.samples:
            logger.info("step %d: %r is answered %r", record.step, sample.prompt, sample.text)
        self._tell(record)

    def _tell(self, record: Record) -> None:
        for recorder in self.recorders:
            recorder(record)

    def _unevenness(self) -> tuple[SlowestRank | None, ExpertLoad | None]:
        """Of what ranks did since the last time, the same on all: who is waited for, and which expert."""
        own = expert_load(self.model_parts, self.parallel_dims)
        by_rank = gather_numbers([self._alone(), *(_numbers(own) if own else [0.0] * 4)])
        loads = [_load(*load) for _, *load in by_rank if load[0]]
        fullest = max(loads, key=lambda load: load.fullest, default=None)
        if fullest:
            fullest = replace(fullest, fullest_rank=max(load.fullest_rank for load in loads))
        return slowest_rank([seconds for seconds, *_ in by_rank]), fullest

    def _alone(self) -> float:
        """Seconds for attention, as if this stage had all layers, and for drawing batches; 0: unknown."""
        parts = self.model_parts
        layers = sum(len(list(part.get_submodule("layers").children())) for part in parts)
        attention = ATTENTION.take() * len(parts[0].config.layers) / layers
        return attention + sum(self.data_loading_times) if attention else 0.0

    def known_loss(self, loss: float) -> float:
        """Only a pipeline's last stage has the loss; torchtitan logs -1, or less, on the others."""
        return greatest(loss) if self.parallel_dims.pp_enabled else loss

    def _tokens_per_second(self) -> float:
        seconds = time.perf_counter() - self.time_last_log
        replicas = self.parallel_dims.world_size / self.parallel_dims.non_data_parallel_size
        return self.ntokens_since_last_log * replicas / seconds


def _numbers(load: ExpertLoad) -> list[float]:
    return [load.fullest, load.layer, load.expert, load.fullest_rank]


def _load(fullest: float, layer: float, expert: float, fullest_rank: float) -> ExpertLoad:
    return ExpertLoad(fullest=fullest, layer=int(layer), expert=int(expert), fullest_rank=fullest_rank)


def _scalars(slowest: SlowestRank | None, load: ExpertLoad | None) -> dict[str, float]:
    """For TensorBoard and W&B."""
    of_experts = {"experts/load": load.fullest, "experts/rank_load": load.fullest_rank} if load else {}
    of_ranks = {"ranks/slowest": float(slowest.rank), "ranks/slowdown": slowest.slowdown} if slowest else {}
    return of_experts | of_ranks


def _of_pairs(rewards: Rewards | None) -> dict[str, float]:
    """By TRL's names."""
    if rewards is None:
        return {}
    return {
        "rewards/chosen": rewards.chosen,
        "rewards/rejected": rewards.rejected,
        "rewards/margins": rewards.margin,
        "rewards/accuracies": rewards.accuracy,
        "logps/chosen": rewards.logps_chosen,
        "logps/rejected": rewards.logps_rejected,
    }


def tracked_values(record: Record) -> dict[str, float]:
    """What trackers are told of a record, under names that they group by; nothing of samples."""
    if isinstance(record, ValidationRecord):
        of_sources = {f"validation/loss/{name}": loss for name, loss in record.by_source.items()}
        of_pairs = {f"validation/{name}": value for name, value in _of_pairs(record.rewards).items()}
        return {"validation/loss": record.loss, **of_sources, **of_pairs}
    if isinstance(record, SamplesRecord):
        return {}
    return {
        "train/loss": record.loss,
        "train/grad_norm": record.grad_norm,
        "train/learning_rate": record.learning_rate,
        "train/tokens_per_second": record.tokens_per_second,
        **_scalars(record.slowest, record.expert_load),
        **_of_pairs(record.rewards),
    }


def wandb_identity(run: Path) -> dict[str, str]:
    """What W&B reads from the environment, so that every attempt of a run goes on with its curves there.

    run: runs/<namespace>/<name>/<run>.
    """
    namespace, name, identifier = run.parts[-3:]
    return {
        "WANDB_PROJECT": "finetune",
        "WANDB_RUN_GROUP": f"{namespace}/{name}",
        "WANDB_RUN_NAME": f"{name}-{identifier}",
        "WANDB_RUN_ID": f"{namespace}-{name}-{identifier}",
        "WANDB_RESUME": "allow",
    }


def _learning_rate(metrics: dict[str, Any]) -> float:
    return next((float(value) for name, value in metrics.items() if name.startswith("lr")), 0.0)
