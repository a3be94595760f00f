"""Weights & Biases; the API key is in WANDB_API_KEY."""

import os
from collections.abc import Mapping

import wandb

from finetune_trainer.contract.tracking import Wandb as Settings
from finetune_trainer.tracking.identity import Identity


class Wandb:
    """One run there for all attempts; it takes no step twice. torchtitan's logger knows no project but by the
    environment, and no server."""

    def __init__(self, settings: Settings, identity: Identity) -> None:
        if settings.base_url:
            os.environ["WANDB_BASE_URL"] = settings.base_url
        self._run = wandb.init(
            project=settings.project,
            entity=settings.entity,
            id=identity.identifier,
            name=identity.name,
            group=identity.group,
            config=dict(identity.settings),
            dir=identity.folder,
            resume="allow",
            mode="offline" if settings.offline else "online",
            settings=wandb.Settings(console="off", silent=True),
        )
        self.place = self._run.url or f"{identity.path}/wandb"

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()
