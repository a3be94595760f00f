"""torchtitan's checkpoint manager for LoRA: adapters, optimizer, schedule, data position and random state.

torchtitan's own writes the whole model, in the training dtype, at every save: 2.7 TB for 671B.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torchtitan.components.checkpointer import BaseCheckpointManager
from torchtitan.components.dataloader import BaseDataLoader
from torchtitan.components.optimizer import LRSchedulersContainer, OptimizersContainer

from finetune_trainer.agreement import from_rank_zero, gather_objects, write_together
from finetune_trainer.base.loader import load_base
from finetune_trainer.checkpoint import files
from finetune_trainer.checkpoint.tensors import gather, read_tensors, trained_parameters, write_tensors
from finetune_trainer.failure import CheckpointError

logger = logging.getLogger(__name__)

STATE = "state.json"
RANDOM_STATE = "random.safetensors"


class LoRACheckpointManager(BaseCheckpointManager):
    """Saves to `folder`/step-<n>/ and resumes from the newest checkpoint there that is whole.

    `initial_load_path` is the Hugging Face base; it is read at every start, as checkpoints do not hold it.
    """

    @dataclass(kw_only=True, slots=True)
    class Config(BaseCheckpointManager.Config):
        folder: str = "checkpoints"

        keep: int = 3
        """How many checkpoints to keep."""

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
        self.listeners: list[Callable[[str], None]] = []
        """Called on every rank with the name of each checkpoint that is saved or resumed from."""

    # --- loading ---

    def _load(self, step: int = -1) -> bool:
        if self.loaded:
            return False
        self.loaded = True
        if self.config.initial_load_path:
            load_base(self.model_parts, self.model_parts[0].config, Path(self.config.initial_load_path))
        checkpoint = from_rank_zero(lambda: _newest_valid(self.folder, step))
        if checkpoint is None:
            return False
        self._restore(checkpoint)
        logger.info("resumed from %s", checkpoint)
        self._tell(checkpoint.name)
        return True

    def _restore(self, checkpoint: Path) -> None:
        state = json.loads((checkpoint / STATE).read_text())
        for file, parameters in trained_parameters(self.optimizers).items():
            read_tensors(parameters, checkpoint / file)
        _restore_schedule(self.lr_schedulers, state["learningRateSchedule"])
        self.train_state.load_state_dict({"step": state["step"], "ntokens_seen": state["tokensSeen"]})
        position = _own_data_position(state["dataloader"], checkpoint)
        if position is not None:
            self.dataloader.load_state_dict(position)
        if state["worldSize"] == dist.get_world_size():
            _set_random_state(load_file(checkpoint / RANDOM_STATE))
        self.last_saved = state["step"]

    # --- saving ---

    def _save(self, curr_step: int, last_step: bool = False) -> bool:
        due = last_step or curr_step % self.config.interval == 0
        if not due or curr_step == self.last_saved or self.config.load_only:
            return False
        staging = files.staging_folder(self.folder, curr_step)
        write_together(lambda: staging.mkdir(parents=True, exist_ok=True), staging)
        written = write_together(lambda: self._write_layers(staging), staging)
        random_state = gather_objects(_random_state())
        state = self._state(curr_step)
        checksums = {name: checksum for files_of_rank in written for name, checksum in files_of_rank.items()}

        def publish() -> None:
            if dist.get_rank() == 0:
                _write_rank_zero_files(staging, state, random_state, checksums)
                files.publish(staging, files.step_folder(self.folder, curr_step), checksums)
                files.prune(self.folder, self.config.keep)

        write_together(publish, staging)
        self.last_saved = curr_step
        self._tell(files.step_folder(self.folder, curr_step).name)
        return True

    def _tell(self, checkpoint: str) -> None:
        for listener in self.listeners:
            listener(checkpoint)

    def _write_layers(self, staging: Path) -> dict[str, str]:
        """Write the layers whose turn it is on this rank; the checksums of their files."""
        own = trained_parameters(self.optimizers)
        holders = gather_objects(sorted(own))
        checksums: dict[str, str] = {}
        failure: Exception | None = None
        for turn, name in enumerate(sorted(own)):
            tensors = gather(own[name])
            ranks = [rank for rank, names in enumerate(holders) if name in names]
            if failure is not None or ranks[turn % len(ranks)] != dist.get_rank():
                continue
            try:
                write_tensors(tensors, staging / name)
                checksums[name] = files.sha256(staging / name)
            except Exception as error:
                failure = error  # The others still wait for this rank in `gather`.
        if failure is not None:
            raise failure
        return checksums

    def _state(self, step: int) -> dict[str, Any]:
        return {
            "step": step,
            "tokensSeen": self.train_state.state_dict()["ntokens_seen"],
            "learningRateSchedule": self.lr_schedulers.state_dict(),
            "dataloader": gather_objects(_data_position(self.dataloader)),
            "worldSize": dist.get_world_size(),
        }

    # --- nothing is asynchronous here: a save is megabytes ---

    def _maybe_wait_for_staging(self) -> None:
        return None

    def _wait_for_saving(self) -> None:
        return None

    def _close(self) -> None:
        return None


def _newest_valid(folder: Path, wanted: int) -> Path | None:
    steps = [step for step in files.saved_steps(folder) if wanted in (-1, step)]
    problems: list[CheckpointError] = []
    for step in steps:
        try:
            files.verify(files.step_folder(folder, step))
        except CheckpointError as error:
            logger.warning("skipped checkpoint step-%d: %s", step, error)
            problems.append(error)
        else:
            return files.step_folder(folder, step)
    if problems:
        raise problems[0]
    return None


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
        f"{checkpoint / STATE}: the data position is of {len(positions)} processes",
        remedy=f"Resume with {len(positions)} processes",
    )


def _write_rank_zero_files(
    staging: Path,
    state: dict[str, Any],
    random_state: list[dict[str, torch.Tensor]],
    checksums: dict[str, str],
) -> None:
    (staging / STATE).write_text(json.dumps(state, indent=2) + "\n")
    tensors = {
        f"rank{rank}.{key}": value for rank, own in enumerate(random_state) for key, value in own.items()
    }
    save_file(tensors, staging / RANDOM_STATE)
    for name in (STATE, RANDOM_STATE):
        checksums[name] = files.sha256(staging / name)


def _random_state() -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _set_random_state(tensors: Mapping[str, torch.Tensor]) -> None:
    prefix = f"rank{dist.get_rank()}"
    torch.set_rng_state(tensors[f"{prefix}.cpu"])
    if f"{prefix}.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors[f"{prefix}.cuda"])
