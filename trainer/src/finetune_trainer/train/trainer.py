"""torchtitan's trainer, training adapters on a frozen base: stops at a step boundary and saves."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torchtitan.components.dataloader import DataloaderExhaustedError
from torchtitan.distributed import ParallelDims
from torchtitan.tools.logging import logger
from torchtitan.trainer import Trainer

from finetune_trainer.checkpoint.warm_start import load_adapter
from finetune_trainer.contract.failure import ConfigurationError, Reason
from finetune_trainer.data.loader import PackedDataLoader
from finetune_trainer.distributed.agreement import any_rank, gather_objects, write_together
from finetune_trainer.model.lora.initialize import initialize_adapters
from finetune_trainer.model.names import CheckpointNames
from finetune_trainer.train.finite import FiniteCheck, NonFinite
from finetune_trainer.train.preflight import Preflight, check_machine, check_peers, keep_log
from finetune_trainer.train.samples import Sampler, SamplesRecord

# More than there are pipeline stages, whose seeds torchtitan numbers one by one.
SEED_STRIDE = 2**20
NAMED = 20


class LoRATrainer(Trainer):
    """Adds to torchtitan's trainer: a look around before a model is built, the adapters' first values, a step
    that is refused where it is not finite, a clean stop, and a checkpoint at the end."""

    @dataclass(kw_only=True, slots=True)
    class Config(Trainer.Config):
        preflight: Preflight | None = None
        """None where torchtitan's own command line starts it, with no run file to compare with."""
        samples: Sampler.Config = field(default_factory=Sampler.Config)
        warm_start: str | None = None
        """The folder of the adapter to start from, where there is no checkpoint to resume from."""

    def __init__(self, config: Config) -> None:
        if config.preflight and config.preflight.enable:
            check_machine(config.preflight, _token_folders(config))
            if config.preflight.device == "cuda":
                keep_log()
        super().__init__(config)
        self.stop_requested = False
        self.stopped = False
        for part in self.model_parts:
            initialize_adapters(part, seed=config.debug.seed or 0)
        _seed_dropout(self.parallel_dims)
        self._position: dict[str, Any] = {}
        self._sampled: int | None = None
        self.restored = False
        self.finite = FiniteCheck(self.model_parts, self.device)
        self.sampler = self._sampler()
        self.optimizers.register_step_pre_hook(self._refuse_non_finite)

    def _sampler(self) -> Sampler | None:
        config, dimensions = self.config, self.parallel_dims
        if not config.samples.prompts:
            return None
        batch = dimensions.get_optional_mesh("batch")
        return config.samples.build(
            base=Path(config.hf_assets_path),
            length=config.training.seq_len,
            rank=batch.get_local_rank() if batch is not None else 0,
            ranks=batch.size() if batch is not None else 1,
            device=self.device,
            context=self.train_context,
        )

    def init_distributed(self) -> ParallelDims:
        """Meet the other processes. Raises ConfigurationError if they are not those of the run."""
        dimensions = super().init_distributed()
        if self.config.preflight and self.config.preflight.enable:
            check_peers(self.config.preflight)
        return dimensions

    def request_stop(self) -> None:
        """Stop after the step in progress. Safe to call from a signal handler."""
        self.stop_requested = True

    def should_continue_training(self) -> bool:
        if self.sampler and self.sampler.is_due(self.step):
            self._generate_samples()
        if not super().should_continue_training():
            return False
        self.stopped = any_rank(self.stop_requested)
        return not self.stopped and not self.checkpointer.has_stalled()

    def train_step(self, data_iterator: Iterator[Any]) -> None:
        """Raises ConfigurationError, and leaves the adapters as they are, where the step is not finite."""
        if isinstance(self.dataloader, PackedDataLoader):
            self._position = self.dataloader.state_dict()
        try:
            super().train_step(data_iterator)
        except DataloaderExhaustedError:
            self.step -= 1  # torchtitan has counted the step that this cancels.
            raise

    def forward_backward_step(self, **batch: Any) -> torch.Tensor:
        loss: torch.Tensor = super().forward_backward_step(**batch)
        self.finite.note_loss(loss)
        return loss

    def restore(self) -> None:
        """Load the base and the newest checkpoint, once. `train` does it otherwise."""
        if self.restored:
            return
        self.restored = True
        self.checkpointer.load(step=self.config.checkpoint.load_step)
        if self.config.warm_start and self.step == 0:
            self.start_from(Path(self.config.warm_start))

    def start_from(self, adapter: Path) -> None:
        """Raises DataError, on every rank, for an adapter that does not fit."""
        names = CheckpointNames.of(self.model_config)
        write_together(lambda: load_adapter(self.model_parts, adapter, names), adapter)
        logger.info("training starts from the adapter %s", adapter)

    def train(self) -> None:
        """Train to the last step, the end of the data or of patience, or a requested stop; save there."""
        self.metrics_processor.on_validation = self.checkpointer.record_validation
        self.restore()
        self._sampled = self.step or None
        if self.config.validator.enable and self.step == 0:
            self.validator.validate(self.model_parts, 0)
        super().train()
        self.checkpointer.save(self.step, last_step=True)
        if self.config.validator.enable and self._last_is_unmeasured():
            self.validator.validate(self.model_parts, self.step)
        if not self.stopped:
            self._generate_samples()

    def _generate_samples(self) -> None:
        """Of this step, once: a step that was resumed from has had its samples."""
        if self.sampler is None or self.step == self._sampled:
            return
        self._sampled = self.step
        began = time.perf_counter()
        samples = self.sampler.generate(self.model_parts[0])
        self.metrics_processor.record_samples(SamplesRecord(step=self.step, samples=samples))
        self.metrics_processor.time_last_log += time.perf_counter() - began  # not of the next step's speed

    def _last_is_unmeasured(self) -> bool:
        """The last step is no multiple of the interval, or the process was killed before its validation."""
        return not self.stopped and self.step not in self.checkpointer.validation_losses

    def _refuse_non_finite(self, *_: Any) -> None:
        if (found := self.finite.result()) is not None:
            raise self._diverged(found)

    def _diverged(self, found: NonFinite) -> ConfigurationError:
        """The failure of a step that is not finite, the same on all ranks, with what leads to the reason."""
        self.checkpointer.writer.wait()
        saved = self.checkpointer.last_saved
        lines = self._lines_of(found.ranks)
        verb = "is" if found.what == "loss" else "are"
        return ConfigurationError(
            f"the {found.what} {verb} not finite at step {self.step}; the last good checkpoint is "
            + (f"step-{saved}" if saved else "none")
            + (f"; {_whose(found.ranks)} the dataset's lines {_named(lines)}" if lines else ""),
            Reason.LOSS_NOT_FINITE if found.what == "loss" else Reason.GRADIENTS_NOT_FINITE,
            remedy="Look at these lines; lower training.learningRate or training.maxGradNorm, or raise "
            "training.warmupSteps",
        )

    def _lines_of(self, ranks: tuple[int, ...]) -> list[int]:
        """The dataset's lines that `ranks`, or all if there are none, have in this step's batch."""
        loader = self.dataloader
        own = loader.own_lines_since(self._position) if isinstance(loader, PackedDataLoader) else []
        by_rank = gather_objects(own)
        return sorted(
            {line for rank, lines in enumerate(by_rank) if rank in ranks or not ranks for line in lines}
        )


def _whose(ranks: tuple[int, ...]) -> str:
    if not ranks or torch.distributed.get_world_size() == 1:
        return "the step's batch has"
    if len(ranks) == 1:
        return f"it came up on rank {ranks[0]}, whose batch has"
    return f"it came up on ranks {_named(ranks)}, whose batches have"


def _named(numbers: tuple[int, ...] | list[int]) -> str:
    return ", ".join(map(str, numbers[:NAMED])) + (", ..." if len(numbers) > NAMED else "")


def _token_folders(config: LoRATrainer.Config) -> list[Path]:
    """What prepare has tokenized, if the run trains on that."""
    loader = config.dataloader
    packed = isinstance(loader, PackedDataLoader.Config)
    return [Path(loader.dataset_path)] if packed and loader.dataset_path else []


def _seed_dropout(dimensions: ParallelDims) -> None:
    """Have ranks that work on different tokens drop different values; torchtitan seeds all of a stage alike.

    Tensor-parallel ranks stay alike: they have to drop the same of what is the same on all of them.
    """
    rank = 0
    for name in ("batch", "cp"):
        mesh = dimensions.get_optional_mesh(name)
        if mesh is not None:
            rank = rank * mesh.size() + mesh.get_local_rank()
    torch.manual_seed(torch.initial_seed() + rank * SEED_STRIDE)
