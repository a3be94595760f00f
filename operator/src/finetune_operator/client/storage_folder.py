"""A storage folder, in which `finetune run` keeps its objects."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from finetune_operator.api.validation import MODELS
from finetune_operator.client.place import KINDS, ContainerLog
from finetune_operator.core.labels import COMPONENT
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.plan import Event
from finetune_operator.local.background import BackgroundEngine
from finetune_operator.local.changed_data import changed_data_notice
from finetune_operator.local.clock import Clock
from finetune_operator.local.errors import LocalError
from finetune_operator.local.layout import Layout
from finetune_operator.local.lock import is_held
from finetune_operator.local.store import Store

_PERIOD_SECONDS = 0.1
# What a manifest says of an object; the rest of its metadata is the store's.
_GIVEN = ("name", "namespace", "labels", "annotations", "ownerReferences")


@dataclass(frozen=True, kw_only=True)
class StorageFolder:
    """A place: the objects of one namespace, as files."""

    layout: Layout
    namespace: str
    engine: BackgroundEngine = field(init=False)
    """Runs what is applied here."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "engine", BackgroundEngine(self.layout))

    def apply(self, manifests: Sequence[Manifest]) -> None:
        """Run manifests on this machine; a job that failed is tried again. Raises LocalError."""
        complete = [{**m, "metadata": {"namespace": self.namespace, **m["metadata"]}} for m in manifests]
        self.engine.apply([MODELS[m["kind"]].model_validate(m).to_dict() for m in complete])

    def find(self, name: str, kinds: tuple[str, ...] = KINDS) -> list[Manifest]:
        """Return the objects of that name. Raises LocalError, naming those there are, when there is none."""
        store = Store(self.layout.objects, Clock())
        there = [manifest for kind in kinds for manifest in store.of_kind(kind)]
        if found := [m for m in there if _full_name(m) == f"{self.namespace}/{name}"]:
            return found
        names = sorted(set(map(_full_name, there)))
        known = f"there are: {', '.join(names)}" if names else "nothing was run there yet"
        raise LocalError(
            f"there is no {' or '.join(kinds)} {self.namespace}/{name} in {self.layout.storage}",
            f"{known}; --storage and --namespace choose another place, and --context a cluster",
        )

    def events(self, _parent: Manifest) -> Iterable[tuple[str, Event]]:
        """Return none: `finetune run` shows them as they happen."""
        return ()

    @contextmanager
    def endpoint(self, deployment: Manifest) -> Iterator[str]:
        """Yield the base URL of a deployment's API, which is a port of this machine."""
        status = deployment.get("status", {})
        if "endpoint" not in status:
            name, phase = deployment["metadata"]["name"], status.get("phase", "not started")
            raise LocalError(
                f"ModelDeployment {name} has no endpoint now; it is {phase}",
                "start it with `finetune run -f FILE` and wait until it is Available",
            )
        yield status["endpoint"]

    def remark(self, parent: Manifest) -> str:
        """Return that a job's dataset has changed, if it has."""
        is_job = parent["kind"] == "FineTuneJob"
        return changed_data_notice(self.layout.storage, parent) if is_job else ""

    def delete(self, parent: Manifest) -> None:
        """Delete an object and its children. Raises LocalError while another engine runs them."""
        ref = Ref.of(parent)
        self.engine.delete(ref)
        while Store(self.layout.objects, Clock()).get(ref):
            time.sleep(_PERIOD_SECONDS)

    def retry(self, job: Manifest) -> None:
        """Run a job as it was run; its failures are forgiven. Raises LocalError."""
        self.engine.apply([as_given(job)])

    def is_attended(self) -> bool:
        """Return whether an engine runs here."""
        return is_held(self.layout.lock)

    def close(self) -> None:
        """Stop what was applied here."""
        self.engine.close()

    def logs(self, parent: Manifest) -> Iterable[ContainerLog]:
        """Return the logs of an object's pods; a server's are there until it is started again."""
        store = Store(self.layout.objects, Clock())
        owners = list(store.owned_by(parent["metadata"]["uid"]))
        pods = [pod for owner in owners for pod in store.owned_by(owner["metadata"]["uid"])]
        for pod in sorted(pods, key=lambda pod: pod["metadata"]["creationTimestamp"]):
            if pod["kind"] == "Pod":
                name, (container,) = pod["metadata"]["name"], pod["spec"]["containers"]
                yield ContainerLog(
                    pod=name,
                    container=container["name"],
                    stage=pod["metadata"]["labels"][COMPONENT],
                    read=partial(_read, self.layout.log(self.namespace, name)),
                )

    def note(self) -> str:
        """Return that nothing goes on, when nothing does."""
        return "" if self.is_attended() else "Nothing runs here now: start it with `finetune run -f FILE`."


def as_given(parent: Manifest) -> Manifest:
    """Return an object as its manifest was."""
    metadata = {key: parent["metadata"][key] for key in _GIVEN if key in parent["metadata"]}
    return {**{key: value for key, value in parent.items() if key != "status"}, "metadata": metadata}


def _read(file: Path, position: str, tail: int | None) -> tuple[list[str], str]:
    """Return the whole lines of a file after so many bytes, which are a position."""
    if not file.exists():
        return [], position
    with file.open("rb") as log:
        log.seek(int(position or 0))
        text = log.read()
    text = text[: text.rfind(b"\n") + 1]
    lines = text.decode("utf-8", errors="replace").splitlines()
    return lines[-tail:] if tail else lines, str(int(position or 0) + len(text))


def _full_name(manifest: Manifest) -> str:
    return f"{manifest['metadata']['namespace']}/{manifest['metadata']['name']}"
