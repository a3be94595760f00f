"""torchtitan's checkpoint manager for LoRA: adapters, optimizer, schedule, data position and random state.

torchtitan's own writes the whole model, in the training dtype, at every save: 2.7 TB for 671B.
"""

import copy
import json
import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torchtitan.components.checkpointer import BaseCheckpointManager
from torchtitan.components.dataloader import BaseDataLoader
from torchtitan.components.optimizer import LRSchedulersContainer, OptimizersContainer

from finetune_trainer.checkpoint import files
from finetune_trainer.checkpoint.listeners import CheckpointListeners
from finetune_trainer.checkpoint.losses_file import LossesFile
from finetune_trainer.checkpoint.randomness import random_states, restore_random_states
from finetune_trainer.checkpoint.selection import (
    Select,
    Selection,
    best_step,
    has_stalled,
    read_losses,
    selection,
)
from finetune_trainer.checkpoint.space import check_checkpoint_space
from finetune_trainer.checkpoint.tensors import held_parts, layer_bytes, read_tensors, trained_parameters
from finetune_trainer.checkpoint.transfers import Exchange, planned_transfers
from finetune_trainer.checkpoint.writer import CheckpointWriter, Snapshot
from finetune_trainer.contract.failure import CheckpointError
from finetune_trainer.distributed.agreement import from_rank_zero, gather_objects
from finetune_trainer.model.base_loader import OnRead, load_base

logger = logging.getLogger(__name__)


class LoRACheckpointManager(BaseCheckpointManager):
    """Saves to `folder`/step-<n>/ and resumes from the newest checkpoint there that is whole.

    `initial_load_path` is the Hugging Face base; it is read at every start, as checkpoints do not hold it.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(BaseCheckpointManager.Config):
        folder: str = "checkpoints"

        keep: int = 3
        """How many of the newest checkpoints to keep."""

        adapters: bool = False
        """Whether each holds the adapter in PEFT's format too: a third more, beside two values of AdamW."""

        select: Select = "last"
        """Which one becomes the adapter; the best one is kept as well."""

        validation_interval: int | None = None
        """Steps between validations; where the best one is selected, each of these steps is saved as well."""

        patience: int | None = None
        """See checkpoint/selection.py."""

    def __init__(
        self,
        config: Config,
        *,
        dataloader: BaseDataLoader,
        model_parts: list[torch.nn.Module],
        optimizers: OptimizersContainer,
        lr_schedulers: LRSchedulersContainer,
        states: Mapping[str, Any],
        sd_adapter: object,
        base_folder: str,
    ) -> None:
        del sd_adapter  # See model/spec.py.
        self.config = config
        self.enable = config.enable
        self.save_future = None
        self.folder = Path(base_folder) / config.folder
        self.dataloader = dataloader
        self.model_parts = model_parts
        self.optimizers = optimizers
        self.lr_schedulers = lr_schedulers
        self.train_state = states["train_state"]
        self.loaded = False
        self.last_saved: int | None = None
        """The newest step that is durable."""
        self._last_snapshot: int | None = None
        self._exchange: Exchange | None = None
        self.validation_losses: dict[int, float] = {}
        """By step, 0 before training; the same on all ranks."""
        self.losses_file = LossesFile(self.folder)
        self.writer = CheckpointWriter(
            self.folder,
            keep=config.keep,
            before_publishing=self.losses_file.wait,
            on_saved=self._saved,
            best=self._best,
        )
        self.listeners = CheckpointListeners()
        self.on_base_read: OnRead = lambda _done, _total: None

    # --- loading ---

    def _load(self, step: int = -1) -> bool:
        if self.loaded:
            return False
        self.loaded = True
        self._check_space()
        if self.config.initial_load_path:
            base = Path(self.config.initial_load_path)
            load_base(self.model_parts, self.model_parts[0].config, base, self.on_base_read)
        checkpoint, unreadable = from_rank_zero(lambda: _newest_valid(self.folder, step))
        if checkpoint is None:
            return False
        self._restore(checkpoint)
        logger.info("resumed from %s", checkpoint)
        self.writer.forget(unreadable)
        self.listeners.tell(checkpoint.name, tuple(f"step-{number}" for number in unreadable))
        return True

    def _check_space(self) -> None:
        """Before the base is read: there is space for the checkpoints that are kept, and for one more."""
        sizes = {
            name: size for own in gather_objects(layer_bytes(self.optimizers)) for name, size in own.items()
        }

        def check() -> None:
            kept = self.config.keep + (self.config.select == "best")
            missing = kept + 1 - len(files.saved_steps(self.folder))
            size = sum(sizes.values())
            whole = size + size // 3 if self.config.adapters else size
            check_checkpoint_space(self.folder, whole, max(1, missing))

        if not self.config.load_only:
            from_rank_zero(check)

    def _restore(self, checkpoint: Path) -> None:
        state = json.loads((checkpoint / files.STATE).read_text())
        for file, parameters in trained_parameters(self.optimizers).items():
            read_tensors(parameters, checkpoint / file)
        _restore_schedule(self.lr_schedulers, state["learningRateSchedule"])
        self.train_state.load_state_dict({"step": state["step"], "ntokens_seen": state["tokensSeen"]})
        position = _own_data_position(state["dataloader"], checkpoint)
        if position is not None:
            self.dataloader.load_state_dict(position)
        if state["worldSize"] == dist.get_world_size():
            restore_random_states(load_file(checkpoint / files.RANDOM_STATE))
        self.last_saved = self._last_snapshot = state["step"]
        measured = from_rank_zero(lambda: read_losses(self.folder))
        # Later steps are trained again.
        self.validation_losses = {step: loss for step, loss in measured.items() if step <= state["step"]}

    # --- saving ---

    def _save(self, curr_step: int, last_step: bool = False) -> bool:
        """Take a snapshot and go on; only the last one is waited for."""
        saves = (last_step or self._is_due(curr_step)) and curr_step != self._last_snapshot
        saves = saves and not self.config.load_only
        if saves:
            start = time.perf_counter()
            self.writer.start(self._snapshot(curr_step))
            self._last_snapshot = curr_step
            logger.info("step %d stood %.3f s for its checkpoint", curr_step, time.perf_counter() - start)
        if last_step:
            self.writer.wait()
        return saves

    def _is_due(self, step: int) -> bool:
        validated = self.config.validation_interval if self.config.select == "best" else None
        return step % self.config.interval == 0 or (validated is not None and step % validated == 0)

    def _snapshot(self, step: int) -> Snapshot:
        """What this rank writes; the ranks put layers together meanwhile, and the next step waits for it."""
        held = {name: held_parts(own) for name, own in trained_parameters(self.optimizers).items()}
        if self._exchange is None:  # which parts there are does not change in a run
            layout = gather_objects({name: list(own) for name, own in held.items()})
            device = next(self.model_parts[0].parameters()).device
            self._exchange = Exchange(planned_transfers(layout), device)
        state = {
            "step": step,
            "tokensSeen": self.train_state.state_dict()["ntokens_seen"],
            "learningRateSchedule": self.lr_schedulers.state_dict(),
            "worldSize": dist.get_world_size(),
        }
        return Snapshot(
            step=step,
            layers=self._exchange.whole_tensors(held),
            random_state=random_states(),
            data_position=copy.deepcopy(_data_position(self.dataloader)),
            state=copy.deepcopy(state),
        )

    def record_validation(self, step: int, loss: float) -> None:
        """Every rank calls it with the same loss. A step without a checkpoint cannot be chosen.

        Rank 0 writes it beside the training. If the volume refuses, the next checkpoint fails of that, or the
        selection, on every rank.
        """
        self.validation_losses = {**self.validation_losses, step: loss}
        if dist.get_rank() == 0:
            self.losses_file.write(self.validation_losses)

    def has_stalled(self) -> bool:
        """Whether training ends here, as no validation has been better for too long; alike on all ranks."""
        return has_stalled(self.validation_losses, self.config.patience)

    def selection(self) -> Selection:
        """The checkpoint that becomes the adapter, the same on all ranks. Raises CheckpointError where it
        is no longer whole."""

        def choose() -> Selection:
            self.losses_file.wait()
            chosen = selection(self.folder, self.config.select, self.config.patience)
            if chosen is None:
                raise CheckpointError(f"{self.folder} has no checkpoint", remedy="Run the job again")
            files.verify(files.step_folder(self.folder, chosen.step))
            return chosen

        return from_rank_zero(choose)

    def _best(self, whole: Collection[int]) -> int | None:
        return best_step(self.validation_losses, whole) if self.config.select == "best" else None

    def _saved(self, step: int) -> None:
        self.last_saved = step
        self.listeners.tell(files.step_folder(self.folder, step).name)

    def _maybe_wait_for_staging(self) -> None:
        """A snapshot is a copy already."""

    def _wait_for_saving(self) -> None:
        self.writer.wait()

    def _close(self) -> None:
        self.writer.close()
        self.losses_file.close()


def _newest_valid(folder: Path, wanted: int) -> tuple[Path | None, tuple[int, ...]]:
    """The newest checkpoint that is whole, and the newer ones that are not."""
    steps = [step for step in files.saved_steps(folder) if wanted in (-1, step)]
    problems: list[CheckpointError] = []
    for number, step in enumerate(steps):
        try:
            files.verify(files.step_folder(folder, step))
        except CheckpointError as error:
            logger.warning("skipped checkpoint step-%d: %s", step, error)
            problems.append(error)
        else:
            return files.step_folder(folder, step), tuple(steps[:number])
    if problems:
        raise problems[0]
    return None, ()


def _restore_schedule(schedulers: LRSchedulersContainer, state: dict[str, Any]) -> None:
    """Also give the optimizers their learning rates, which torchtitan leaves to their own states."""
    schedulers.load_state_dict(state)
    for scheduler in schedulers.schedulers:
        for group, rate in zip(scheduler.optimizer.param_groups, scheduler.get_last_lr(), strict=True):
            group["lr"] = rate


def _data_position(dataloader: BaseDataLoader) -> Any:
    """The loader's state, or None for torchtitan's own loaders, whose state is a pickle."""
    state = dataloader.state_dict()
    try:
        json.dumps(state)
    except TypeError:
        logger.warning("%s cannot resume: its state is no JSON", type(dataloader).__name__)
        return None
    return state


def _own_data_position(positions: list[Any], checkpoint: Path) -> Any:
    if len(positions) == dist.get_world_size():
        return positions[dist.get_rank()]
    if all(position == positions[0] for position in positions):
        return positions[0]
    raise CheckpointError(
        f"{checkpoint / files.STATE}: the data position is of {len(positions)} processes",
        remedy=f"Resume with {len(positions)} processes",
    )
