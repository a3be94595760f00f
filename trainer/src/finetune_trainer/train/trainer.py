"""torchtitan's trainer, training adapters on a frozen base: stops at a step boundary and saves."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torchtitan.components.dataloader import DataloaderExhaustedError
from torchtitan.distributed import ParallelDims
from torchtitan.trainer import Trainer

from finetune_trainer.contract.failure import ConfigurationError
from finetune_trainer.distributed.agreement import any_rank
from finetune_trainer.model.lora.initialize import initialize_adapters

# More than there are pipeline stages, whose seeds torchtitan numbers one by one.
SEED_STRIDE = 2**20


class LoRATrainer(Trainer):
    """Adds to torchtitan's trainer: the adapters' first values, a clean stop, and a checkpoint at the end."""

    @dataclass(kw_only=True, slots=True)
    class Config(Trainer.Config):
        pass

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.stop_requested = False
        self.stopped = False
        for part in self.model_parts:
            initialize_adapters(part, seed=config.debug.seed or 0)
        _seed_dropout(self.parallel_dims)

    def request_stop(self) -> None:
        """Stop after the step in progress. Safe to call from a signal handler."""
        self.stop_requested = True

    def should_continue_training(self) -> bool:
        if not super().should_continue_training():
            return False
        self.stopped = any_rank(self.stop_requested)
        return not self.stopped

    def train_step(self, data_iterator: Iterator[Any]) -> None:
        try:
            super().train_step(data_iterator)
        except DataloaderExhaustedError:
            self.step -= 1  # torchtitan has counted the step that this cancels.
            raise
        except RuntimeError as error:
            if "Loss is not finite" in str(error):
                raise _diverged(self.step) from error
            raise

    def restore(self) -> None:
        """Load the base and the newest checkpoint. `train` does it otherwise."""
        self.checkpointer.load(step=self.config.checkpoint.load_step)

    def train(self) -> None:
        """Train to the last step, the end of the data or a requested stop, and save where that was."""
        super().train()
        self.checkpointer.save(self.step, last_step=True)


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


def _diverged(step: int) -> ConfigurationError:
    return ConfigurationError(
        f"the loss is not finite at step {step}", remedy="Lower training.learningRate or raise warmupSteps"
    )
