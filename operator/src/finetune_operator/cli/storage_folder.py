"""A storage folder, in which `finetune run` keeps its objects."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from finetune_operator.cli.place import KINDS, ContainerLog
from finetune_operator.cli.run_here import run_here
from finetune_operator.core.labels import COMPONENT
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.plan import Event
from finetune_operator.local.changed_data import changed_data_notice
from finetune_operator.local.clock import Clock
from finetune_operator.local.errors import LocalError
from finetune_operator.local.layout import Layout
from finetune_operator.local.lock import exclusive, is_held
from finetune_operator.local.store import Store

# What a manifest says of an object; the rest of its metadata is the store's.
_GIVEN = ("name", "namespace", "labels", "annotations", "ownerReferences")


@dataclass(frozen=True, kw_only=True)
class StorageFolder:
    """A place: the objects of one namespace, as files."""

    layout: Layout
    namespace: str

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
        """Delete an object and its children. Raises LocalError while an engine runs them."""
        with exclusive(self.layout.lock):
            Store(self.layout.objects, Clock()).remove(Ref.of(parent))

    def retry(self, job: Manifest) -> int:
        """Run a job as it was run; its failures are forgotten. Raises LocalError while an engine runs."""
        metadata = {key: job["metadata"][key] for key in _GIVEN if key in job["metadata"]}
        given = {key: value for key, value in job.items() if key != "status"}
        return run_here(self.layout, [{**given, "metadata": metadata}])

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
        running = is_held(self.layout.lock)
        return "" if running else "Nothing runs here now: start it with `finetune run -f FILE`."


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
