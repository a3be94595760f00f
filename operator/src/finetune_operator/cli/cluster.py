"""A cluster, reached as kubectl reaches it: by the kubeconfig."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from urllib.parse import urlsplit

import click
from kubernetes import client, config
from urllib3 import Retry
from urllib3.exceptions import HTTPError

from finetune_operator.api import GROUP, VERSION
from finetune_operator.cli.place import KINDS, ContainerLog
from finetune_operator.cli.pod_logs import container_logs
from finetune_operator.core.labels import INSTANCE, NAME, RUN
from finetune_operator.core.naming import child_name
from finetune_operator.core.objects import Manifest
from finetune_operator.core.plan import Event
from finetune_operator.finetune.memory import forgiveness
from finetune_operator.kube.resources import BY_KIND
from finetune_operator.local.errors import LocalError

_TIMEOUT_SECONDS = 10
# A cluster that is not there is said at once. One that says "later" (429 and Retry-After, as while it makes
# the store of a CustomResourceDefinition that is new) is asked again then, as client-go does.
_RETRIES = Retry(total=20, connect=0, read=0, redirect=0, other=0, raise_on_status=False)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A place: one namespace of a cluster."""

    api: client.ApiClient
    context: str | None
    namespace: str

    @classmethod
    def connect(cls, context: str | None, namespace: str | None) -> Self:
        """Read the kubeconfig; without a namespace, take the context's. Raises LocalError."""
        configuration = client.Configuration()
        configuration.retries = _RETRIES
        try:
            contexts, current = config.list_kube_config_contexts()  # type: ignore[no-untyped-call]
            config.load_kube_config(  # type: ignore[no-untyped-call]
                context=context, client_configuration=configuration
            )
        except config.ConfigException as error:
            raise LocalError(
                f"there is no cluster to ask: {error}",
                "choose one with KUBECONFIG or --context, or the folder of `finetune run` with --storage",
            ) from None
        chosen = next(each for each in contexts if each["name"] == (context or current["name"]))
        return cls(
            api=client.ApiClient(configuration),
            context=context,
            namespace=namespace or chosen["context"].get("namespace", "default"),
        )

    def find(self, name: str, kinds: tuple[str, ...] = KINDS) -> list[Manifest]:
        """Return the objects of that name. Raises LocalError when there is none."""
        found = [manifest for kind in kinds for manifest in self._list(kind, name)]
        if not found:
            raise LocalError(
                f"there is no {' or '.join(kinds)} {name} in the namespace {self.namespace}",
                "`kubectl get finetune --all-namespaces` shows those there are",
            )
        return found

    def events(self, parent: Manifest) -> Iterable[tuple[str, Event]]:
        """Return the events of an object that the cluster still has."""
        selector = f"involvedObject.uid={parent['metadata']['uid']}"
        listed = _ask(
            client.CoreV1Api(self.api).list_namespaced_event, self.namespace, field_selector=selector
        )
        for event in sorted(listed.items, key=lambda event: event.metadata.creation_timestamp):
            yield event.metadata.uid, Event(type=event.type, reason=event.reason, message=event.message)

    @contextmanager
    def endpoint(self, deployment: Manifest) -> Iterator[str]:
        """Forward a port of this machine to a deployment's Service for as long as the context lasts."""
        name, status = deployment["metadata"]["name"], deployment.get("status", {})
        if not status.get("readyReplicas"):
            raise LocalError(
                f"ModelDeployment {name} has no replica that answers; it is {status.get('phase', 'new')}",
                f"see `finetune status {name}`",
            )
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            raise LocalError("kubectl is not installed", "install it: it forwards a port to the Service")
        url = urlsplit(status["endpoint"])
        service = str(url.hostname).partition(".")[0]
        context = (f"--context={self.context}",) if self.context else ()
        command = [kubectl, *context, f"--namespace={self.namespace}", "port-forward", f"service/{service}"]
        with subprocess.Popen(
            [*command, f":{url.port}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as forward:
            try:
                yield f"http://127.0.0.1:{_forwarded_port(forward)}"
            finally:
                forward.terminate()

    def remark(self, _parent: Manifest) -> str:
        """Return nothing: what is in a cluster's volume cannot be seen from here."""
        return ""

    def delete(self, parent: Manifest) -> None:
        """Delete an object; its children go with it. Raises LocalError."""
        plural, name = BY_KIND[parent["kind"]].plural, parent["metadata"]["name"]
        try:
            client.CustomObjectsApi(self.api).delete_namespaced_custom_object(
                GROUP, VERSION, self.namespace, plural, name, _request_timeout=_TIMEOUT_SECONDS
            )
        except client.ApiException as refused:
            if refused.status != 404:  # it may be a child of the one before
                raise LocalError(
                    f"the cluster answers {refused.status} {refused.reason}",
                    f"check your rights: `kubectl auth can-i delete {plural}.{GROUP}`",
                ) from None

    def retry(self, job: Manifest) -> int:
        """Say in an annotation which failures are forgiven, by their time; the operator does the rest."""
        name, status = job["metadata"]["name"], job["status"]
        selector = f"{NAME}=finetune,{INSTANCE}={child_name(name)},{RUN}={status['run']}"
        listed = _ask(
            client.BatchV1Api(self.api).list_namespaced_job, self.namespace, label_selector=selector
        )
        # A Job may have failed again in the meantime, or be gone.
        ends = [end for each in listed.items if (end := _failed_at(each))]
        patch = {"metadata": {"annotations": forgiveness(status, ends)}}
        plural = BY_KIND[job["kind"]].plural
        _ask(
            client.CustomObjectsApi(self.api).patch_namespaced_custom_object,
            *(GROUP, VERSION, self.namespace, plural, name, patch),
        )
        click.echo(
            f"The {status['stage']} stage of FineTuneJob {name} is tried again: "
            f"`finetune watch {name}` shows how"
        )
        return 0

    def logs(self, parent: Manifest) -> Iterable[ContainerLog]:
        """Return the logs of the pods that are still there, as long as their nodes are. Raises LocalError."""
        selector = f"{NAME}=finetune,{INSTANCE}={child_name(parent['metadata']['name'])}"
        list_pods = client.CoreV1Api(self.api).list_namespaced_pod
        pods = _ask(list_pods, self.namespace, label_selector=selector).items
        return container_logs(self.api, pods, parent["kind"])

    def note(self) -> str:
        """Return nothing: the operator is always there."""
        return ""

    def _list(self, kind: str, name: str) -> list[Manifest]:
        listed = _ask(
            client.CustomObjectsApi(self.api).list_namespaced_custom_object,
            *(GROUP, VERSION, self.namespace, BY_KIND[kind].plural),
            field_selector=f"metadata.name={name}",
        )
        items: list[Manifest] = listed["items"]
        return items


def _failed_at(job: Any) -> datetime | None:
    """Return when a Job failed; None when it has not."""
    ends = (each for each in job.status.conditions or () if each.type == "Failed" and each.status == "True")
    return next((end.last_transition_time for end in ends), None)


def _ask(request: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Make a request. Raises LocalError when it is refused or nobody answers."""
    try:
        return request(*arguments, **options, _request_timeout=_TIMEOUT_SECONDS)
    except client.ApiException as refused:
        if refused.status == 404:
            raise LocalError(
                "the cluster does not know FineTuneJob and ModelDeployment",
                "install the operator's chart first",
            ) from None
        raise LocalError(
            f"the cluster answers {refused.status} {refused.reason}",
            "check the context and your rights: `kubectl auth can-i get finetunejobs.finetune.dev`",
        ) from None
    except HTTPError as error:
        raise LocalError(
            f"the cluster does not answer: {error}", "check the context and the network"
        ) from None


def _forwarded_port(forward: "subprocess.Popen[str]") -> int:
    """Return the port of this machine, once kubectl says it. Raises LocalError."""
    assert forward.stdout is not None
    assert forward.stderr is not None
    found = re.search(r"127\.0\.0\.1:(\d+)", forward.stdout.readline())
    if found is None:
        raise LocalError(
            f"kubectl cannot forward a port: {forward.stderr.read().strip()}",
            "see `kubectl port-forward --help`",
        )
    return int(found[1])
