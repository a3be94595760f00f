"""The trackers that a run asks for: what each needs, and how it is opened."""

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec

from finetune_trainer.contract.failure import ConfigurationError
from finetune_trainer.contract.run_file import RunFile, RunFolders
from finetune_trainer.tracking.background import BackgroundTracker
from finetune_trainer.tracking.identity import Identity
from finetune_trainer.tracking.tracker import Tracker

# By the field of run.json's tracking: the package, which is imported by who asks for it alone.
PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow", "trackio": "trackio"}


def check_trackers(run: RunFile) -> None:
    """Raise ConfigurationError for a tracker that the image lacks, or whose key is not there."""
    for name in _asked(run):
        if find_spec(PACKAGES[name]) is None:
            raise ConfigurationError(
                f"tracking.{name}: this image has no package {PACKAGES[name]}",
                remedy=f"Build a trainer image with `pip install {PACKAGES[name]}` and name it to the "
                f"operator, or remove tracking.{name}",
            )
    wandb = run.tracking.wandb
    if wandb and not wandb.offline and not os.environ.get("WANDB_API_KEY"):
        raise ConfigurationError(
            "tracking.wandb: there is no API key",
            remedy="Set tracking.wandb.apiKeySecretRef (on one machine export WANDB_API_KEY), or offline",
        )


def open_trackers(
    run: RunFile, folders: RunFolders, resumed_step: int, on_open: Callable[[str, str], None]
) -> list[BackgroundTracker]:
    """The trackers that the run asks for, each in its thread; on_open is told their names and places."""
    return [
        BackgroundTracker(name, _opener(name, run, Identity.of(run, folders), resumed_step), on_open)
        for name in _asked(run)
    ]


def _asked(run: RunFile) -> Iterator[str]:
    return (name for name in PACKAGES if getattr(run.tracking, name) is not None)


def _opener(name: str, run: RunFile, identity: Identity, resumed_step: int) -> Callable[[], Tracker]:
    def opened() -> Tracker:
        # Each imports a package that takes seconds, in the thread that tells it.
        asked = run.tracking
        if name == "tensorboard":
            from finetune_trainer.tracking.tensorboard import TensorBoard

            return TensorBoard(identity, resumed_step)
        if asked.wandb and name == "wandb":
            from finetune_trainer.tracking.wandb import Wandb

            return Wandb(asked.wandb, identity)
        if asked.mlflow and name == "mlflow":
            from finetune_trainer.tracking.mlflow import Mlflow

            return Mlflow(asked.mlflow, identity)
        assert asked.trackio
        from finetune_trainer.tracking.trackio import Trackio

        return Trackio(asked.trackio, identity)

    return opened
