"""A cluster, reached as kubectl reaches it: by the kubeconfig, or by a pod's service account."""

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from urllib.parse import urlsplit

from kubernetes import client

from finetune_operator.api import GROUP, VERSION
from finetune_operator.client.connection import TIMEOUT_SECONDS, ask, connect
from finetune_operator.client.place import KINDS, ContainerLog
from finetune_operator.client.pod_logs import container_logs
from finetune_operator.core.labels import INSTANCE, NAME, RUN
from finetune_operator.core.naming import child_name
from finetune_operator.core.objects import Manifest
from finetune_operator.core.plan import Event
from finetune_operator.finetune.memory import forgiveness
from finetune_operator.kube.resources import BY_KIND
from finetune_operator.local.errors import LocalError

_FIELD_MANAGER = "finetune"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A place: one namespace of a cluster."""

    api: client.ApiClient
    context: str | None
    namespace: str
    inside: bool = False
    """Whether this is a pod of the cluster, which reaches a Service by its name."""

    @classmethod
    def connect(cls, context: str | None, namespace: str | None) -> Self:
        """Find the cluster; without a namespace, take the context's, or the pod's. Raises LocalError."""
        api, own_namespace, inside = connect(context)
        return cls(api=api, context=context, namespace=namespace or own_namespace, inside=inside)

    def apply(self, manifests: Sequence[Manifest]) -> None:
        """Apply on the server's side, as `kubectl apply --server-side` does. Raises LocalError.

        https://kubernetes.io/docs/reference/using-api/server-side-apply/
        """
        for manifest in manifests:
            ask(
                client.CustomObjectsApi(self.api).patch_namespaced_custom_object,
                *(GROUP, VERSION, manifest["metadata"].get("namespace", self.namespace)),
                *(BY_KIND[manifest["kind"]].plural, manifest["metadata"]["name"], manifest),
                field_manager=_FIELD_MANAGER,
                force=True,
                _content_type="application/apply-patch+yaml",
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
        listed = ask(
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
        if self.inside:
            yield status["endpoint"]
            return
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
                GROUP, VERSION, self.namespace, plural, name, _request_timeout=TIMEOUT_SECONDS
            )
        except client.ApiException as refused:
            if refused.status != 404:  # it may be a child of the one before
                raise LocalError(
                    f"the cluster answers {refused.status} {refused.reason}",
                    f"check your rights: `kubectl auth can-i delete {plural}.{GROUP}`",
                ) from None

    def retry(self, job: Manifest) -> None:
        """Say in an annotation which failures are forgiven, by their time; the operator does the rest."""
        name, status = job["metadata"]["name"], job["status"]
        selector = f"{NAME}=finetune,{INSTANCE}={child_name(name)},{RUN}={status['run']}"
        listed = ask(client.BatchV1Api(self.api).list_namespaced_job, self.namespace, label_selector=selector)
        # A Job may have failed again in the meantime, or be gone.
        ends = [end for each in listed.items if (end := _failed_at(each))]
        patch = {"metadata": {"annotations": forgiveness(status, ends)}}
        plural = BY_KIND[job["kind"]].plural
        ask(
            client.CustomObjectsApi(self.api).patch_namespaced_custom_object,
            *(GROUP, VERSION, self.namespace, plural, name, patch),
        )

    def is_attended(self) -> bool:
        """Return that the operator is always there."""
        return True

    def close(self) -> None:
        """Nothing runs here."""

    def logs(self, parent: Manifest) -> Iterable[ContainerLog]:
        """Return the logs of the pods that are still there, as long as their nodes are. Raises LocalError."""
        selector = f"{NAME}=finetune,{INSTANCE}={child_name(parent['metadata']['name'])}"
        list_pods = client.CoreV1Api(self.api).list_namespaced_pod
        pods = ask(list_pods, self.namespace, label_selector=selector).items
        return container_logs(self.api, pods, parent["kind"])

    def note(self) -> str:
        """Return nothing: the operator is always there."""
        return ""

    def _list(self, kind: str, name: str) -> list[Manifest]:
        listed = ask(
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
