"""Copies of a finished FineTuneJob with all its objects, as if each had gone through its stages.

But for the pods of the oldest: Kubernetes keeps no more of those that ended (--terminated-pod-gc-threshold).
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from kubernetes import client

_WRITERS = 16
_MOST_PODS = 12_500
_CHILDREN = {
    "configmaps": "/api/v1",
    "services": "/api/v1",
    "networkpolicies": "/apis/networking.k8s.io/v1",
    "jobs": "/apis/batch/v1",
    "pods": "/api/v1",
}
_PARENTS = "/apis/finetune.dev/v1alpha1"
_OF_THE_SERVER = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "finalizers")


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Of the parent and its children, with the statuses that they have."""

    api: client.ApiClient
    namespace: str
    parent: str

    def write(self, number: int) -> int:
        """Write so many; return how many objects one is."""
        parent = self._ask("GET", f"{self._path(_PARENTS, 'finetunejobs')}/{self.parent}")
        children = list(self._children())
        with_pods = _MOST_PODS // sum(plural == "pods" for _, plural, _ in children)

        def write(index: int) -> None:
            name = f"copy-{index}"
            made = self._write(_PARENTS, "finetunejobs", self._copy(parent, name, {}))
            uids = {parent["metadata"]["uid"]: made["metadata"]["uid"]}
            for prefix, plural, child in children:
                if plural == "pods" and index >= with_pods:
                    continue
                done = self._write(prefix, plural, self._copy(child, name, uids))
                uids[child["metadata"]["uid"]] = done["metadata"]["uid"]

        with ThreadPoolExecutor(_WRITERS) as writers:
            list(writers.map(write, range(number)))
        return 1 + len(children)

    def _children(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield them with the path of their kind, each after its own owner."""
        for plural, prefix in _CHILDREN.items():
            for item in self._ask("GET", self._path(prefix, plural))["items"]:
                if item["metadata"].get("labels", {}).get("app.kubernetes.io/instance") == self.parent:
                    yield prefix, plural, item

    def _copy(self, obj: dict[str, Any], name: str, uids: dict[str, str]) -> dict[str, Any]:
        text = json.dumps(obj).replace(self.parent, name)
        for before, now in uids.items():
            text = text.replace(before, now)
        copy: dict[str, Any] = json.loads(text)
        for field in _OF_THE_SERVER:
            copy["metadata"].pop(field, None)
        if "template" in copy.get("spec", {}):  # a Job's: by its uid, which the server is to put in again
            del copy["spec"]["selector"]
            labels = copy["spec"]["template"]["metadata"]["labels"]
            for label in [each for each in labels if each.endswith(("controller-uid", "job-name"))]:
                del labels[label]
        return copy

    def _write(self, prefix: str, plural: str, copy: dict[str, Any]) -> dict[str, Any]:
        path = self._path(prefix, plural)
        made = self._ask("POST", path, copy)
        if copy.get("status") and plural in ("finetunejobs", "jobs", "pods"):
            whole = made | {"status": copy["status"]}
            return self._ask("PUT", f"{path}/{made['metadata']['name']}/status", whole)
        return made

    def _path(self, prefix: str, plural: str) -> str:
        return f"{prefix}/namespaces/{self.namespace}/{plural}"

    def _ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        request = self.api.param_serialize(
            method,
            path,
            header_params={"Accept": "application/json", "Content-Type": "application/json"},
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = self.api.call_api(*request)
        data = answer.read()
        assert 200 <= answer.status <= 299, f"{method} {path}: {data.decode()}"
        return dict(json.loads(data))
