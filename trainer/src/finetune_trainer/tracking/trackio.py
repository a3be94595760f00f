"""trackio, whose calls are W&B's; it is not in our image."""

from collections.abc import Mapping
from importlib import import_module

from finetune_trainer.contract.tracking import Trackio as Settings
from finetune_trainer.tracking.identity import Identity


class Trackio:
    """One run there for all attempts."""

    def __init__(self, settings: Settings, identity: Identity) -> None:
        self._trackio = import_module("trackio")
        self._trackio.init(
            project=settings.project,
            name=identity.identifier,
            space_id=settings.space,
            config=dict(identity.settings),
            resume="allow",
        )
        here = f"trackio show --project {settings.project}"
        self.place = f"https://huggingface.co/spaces/{settings.space}" if settings.space else here

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._trackio.log(dict(values), step=step)

    def close(self) -> None:
        self._trackio.finish()
