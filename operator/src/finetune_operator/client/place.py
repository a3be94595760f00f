"""Where the objects of a client are: in a cluster, or in a storage folder of this machine."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from finetune_operator.api.resources import RESOURCES
from finetune_operator.core.objects import Manifest
from finetune_operator.core.plan import Event

KINDS = tuple(resource.kind for resource in RESOURCES)


@dataclass(frozen=True, kw_only=True)
class ContainerLog:
    """What one container of a pod has written."""

    pod: str
    container: str
    stage: str
    """prepare, train, merge-shards, merge, verify, evaluate, push or serve."""
    read: Callable[[str, int | None], tuple[list[str], str]]
    """Takes a position, empty for the start, and how many lines to keep of those after it; returns them and
    the position behind the last."""


class Place(Protocol):
    """Finds objects of one namespace by their names."""

    @property
    def namespace(self) -> str:
        """Return where names are looked up."""

    def apply(self, manifests: Sequence[Manifest]) -> None:
        """Create objects, or change them, as `kubectl apply` does. Raises LocalError."""

    def find(self, name: str, kinds: tuple[str, ...] = KINDS) -> list[Manifest]:
        """Return the objects of that name. Raises LocalError when there is none."""

    def events(self, parent: Manifest) -> Iterable[tuple[str, Event]]:
        """Return what happened to an object, oldest first, each event with an id of its own."""

    def endpoint(self, deployment: Manifest) -> AbstractContextManager[str]:
        """Open a way to a deployment's API and yield its base URL. Raises LocalError when there is none."""

    def remark(self, parent: Manifest) -> str:
        """Return what else is to be known of an object; empty when nothing is."""

    def delete(self, parent: Manifest) -> None:
        """Delete an object and its children, if it is there. Raises LocalError."""

    def retry(self, job: Manifest) -> None:
        """Let a failed job try again. Raises LocalError."""

    def is_attended(self) -> bool:
        """Return whether somebody is there to bring the objects further."""

    def close(self) -> None:
        """Stop what runs for this place alone."""

    def logs(self, parent: Manifest) -> Iterable[ContainerLog]:
        """Return the logs of an object's containers that have started, oldest pod first."""

    def note(self) -> str:
        """Return what else is to be known of what is shown; empty when nothing is."""
