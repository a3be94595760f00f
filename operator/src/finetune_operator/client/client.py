"""The calls that people make: submit, wait, logs, chat, retry, delete."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from finetune_operator.api.base import RULES_OBEYED
from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.api.errors import FinetuneError
from finetune_operator.api.job import FineTuneJob
from finetune_operator.client.conversation import Conversation
from finetune_operator.client.logs import LogLine, log_lines
from finetune_operator.client.place import Place
from finetune_operator.client.retrying import check_failed
from finetune_operator.client.storage_folder import StorageFolder
from finetune_operator.client.submission import Submission, manifests_of
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.verdict import State, verdict_of
from finetune_operator.local.errors import LocalError
from finetune_operator.local.layout import Layout

_PERIOD_SECONDS = 0.5
Parent = TypeVar("Parent", FineTuneJob, ModelDeployment)


class RunFailedError(FinetuneError):
    """A job or a deployment that was waited for has failed."""


class Client:
    """The objects of one namespace, of a cluster or of this machine.

    Every mistake that a person can make is a FinetuneError, whose text is what `finetune` would print.
    """

    def __init__(
        self,
        *,
        storage: str | os.PathLike[str] | None = None,
        context: str | None = None,
        namespace: str | None = None,
    ) -> None:
        """Find the cluster: a context of the kubeconfig, or, in a pod, the pod's own.

        storage: a folder; jobs then run on this machine, as `finetune run --storage` runs them, for as long
        as this process lives. namespace: by default the context's, the pod's, or `default`.
        """
        self.place: Place = _place(storage, context, namespace)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def submit(self, *submissions: Submission) -> None:
        """Create objects, or change them: models, mappings as in YAML, or paths of files of manifests."""
        self.place.apply(manifests_of(submissions))

    @overload
    def get(self, name: str) -> FineTuneJob: ...
    @overload
    def get(self, name: str, kind: type[Parent]) -> Parent: ...
    def get(self, name: str, kind: type[Any] = FineTuneJob) -> Any:
        """Return an object as it is, with its status."""
        (found,) = self.place.find(name, kinds=(kind.__name__,))
        return _parent(kind, found)

    @overload
    def wait(self, name: str, *, timeout: float | None = None) -> FineTuneJob: ...
    @overload
    def wait(self, name: str, kind: type[Parent], *, timeout: float | None = None) -> Parent: ...
    def wait(self, name: str, kind: type[Any] = FineTuneJob, *, timeout: float | None = None) -> Any:
        """Wait until a job is complete, or a deployment available, and return it.

        A job's own deployment, which is made with it, may be waited for before it is there. Raises
        RunFailedError when it fails, and TimeoutError after so many seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            attended = self.place.is_attended()
            wanted = [
                parent for parent in self._with_own(name, kind.__name__) if parent["kind"] == kind.__name__
            ]
            verdict = verdict_of(wanted) if wanted else None
            if verdict and verdict.state is State.READY:
                return _parent(kind, wanted[0])
            if verdict and verdict.state is State.FAILED:
                raise RunFailedError(f"{kind.__name__} {name} has failed: {verdict.message}")
            if not attended:
                raise LocalError(
                    f"{kind.__name__} {name} is not ready, and nothing runs here", "submit it again"
                )
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"{kind.__name__} {name} is not ready after {timeout} seconds")
            time.sleep(_PERIOD_SECONDS)

    def logs(
        self, name: str, *, stage: str | None = None, tail: int | None = None, follow: bool = False
    ) -> Iterator[LogLine]:
        """Yield what the pods of a job and of a deployment of that name have written."""
        return log_lines(self.place, name, stage=stage, tail=tail, follow=follow)

    def chat(self, name: str, question: str, *, system: str | None = None, **options: Any) -> str:
        """Return a deployment's answer; options are those of OpenAI's API, such as max_tokens."""
        with self.conversation(name, system=system, **options) as conversation:
            return conversation.ask(question)

    @contextmanager
    def conversation(self, name: str, *, system: str | None = None, **options: Any) -> Iterator[Conversation]:
        """Open a chat of several questions, whose answers may be streamed."""
        (deployment,) = self.place.find(name, kinds=(ModelDeployment.__name__,))
        with self.place.endpoint(deployment) as url:
            yield Conversation(url, deployment, system, {"max_tokens": 256, "temperature": 0.0, **options})

    def retry(self, name: str) -> str:
        """Let the failed job of that name try again, from the stage that failed, which is returned."""
        job = self.failed_job(name)
        self.place.retry(job)
        return str(job["status"].get("stage", ""))

    def delete(self, name: str) -> list[Ref]:
        """Delete the job and the deployment of that name; models and adapters in the volume stay."""
        found = self.place.find(name)
        for parent in found:
            self.place.delete(parent)
        return [Ref.of(parent) for parent in found]

    def close(self) -> None:
        """Stop what this client runs on this machine; a cluster's goes on."""
        self.place.close()

    def failed_job(self, name: str) -> Manifest:
        """Return the job of that name. Raises LocalError when another try does not help it."""
        (job,) = self.place.find(name, kinds=(FineTuneJob.__name__,))
        check_failed(job)
        return job

    def _with_own(self, name: str, kind: str) -> list[Manifest]:
        """Return the object of that name, and the job that is about to make it."""
        found = self.place.find(name)
        makes_it = any(parent["spec"].get("deployment") is not None for parent in found)
        if kind in {parent["kind"] for parent in found} or makes_it:
            return found
        return self.place.find(name, kinds=(kind,))


def _parent(kind: type[Parent], found: Manifest) -> Parent:
    """Return an object as its model; what a newer operator says beyond that is left out."""
    return kind.model_validate(found, extra="ignore", context=RULES_OBEYED)


def _place(storage: str | os.PathLike[str] | None, context: str | None, namespace: str | None) -> Place:
    if storage is not None and context is not None:
        raise LocalError("both a storage folder and a context are named", "name one: a folder or a cluster")
    if storage is not None:
        return StorageFolder(
            layout=Layout(storage=Path(storage).absolute()), namespace=namespace or "default"
        )
    # The client of Kubernetes takes a second to import, and no folder needs it.
    from finetune_operator.client.cluster import Cluster

    return Cluster.connect(context, namespace)
