"""Makes, changes and looks at FineTuneJobs and ModelDeployments, as a user of the API would."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from kubernetes import client
from waiting import until

GROUP, VERSION = "finetune.dev", "v1alpha1"
PLURALS = {"FineTuneJob": "finetunejobs", "ModelDeployment": "modeldeployments"}

JOB: dict[str, Any] = {
    "model": {"uri": "models/tiny"},
    "flavor": "tiny_lora",
    "dataset": {"uri": "datasets/faq.jsonl"},
    "training": {"steps": 10},
    "workers": {"nodes": 2, "device": "cpu"},
    "storage": {"claimName": "models"},
    "failurePolicy": {"maxRestarts": 1, "backoffSeconds": 1},
}
DEPLOYMENT: dict[str, Any] = {"device": "cpu"}


def job_spec(**changes: Any) -> dict[str, Any]:
    """A job of debug size; `changes` replace whole fields of the spec."""
    return deepcopy(JOB) | changes


@dataclass(frozen=True, kw_only=True)
class Parents:
    api: client.ApiClient
    namespace: str

    @property
    def _custom(self) -> client.CustomObjectsApi:
        return client.CustomObjectsApi(self.api)

    def create(self, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec,
        }
        made: dict[str, Any] = self._custom.create_namespaced_custom_object(
            GROUP, VERSION, self.namespace, PLURALS[kind], body
        )
        return made

    def patch(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        self._custom.patch_namespaced_custom_object(
            GROUP, VERSION, self.namespace, PLURALS[kind], name, {"spec": spec}
        )

    def delete(self, kind: str, name: str) -> None:
        self._custom.delete_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURALS[kind], name)

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._custom.get_namespaced_custom_object(
                GROUP, VERSION, self.namespace, PLURALS[kind], name
            )
        except client.ApiException as refused:
            if refused.status == 404:
                return None
            raise
        return found

    def condition(self, kind: str, name: str, type_: str) -> dict[str, Any]:
        """The condition, or an empty one."""
        status = (self.get(kind, name) or {}).get("status", {})
        return next((c for c in status.get("conditions", []) if c["type"] == type_), {})

    def pushed_to(self, name: str) -> str | None:
        found: str | None = (self.get("FineTuneJob", name) or {}).get("status", {}).get("pushedTo")
        return found

    def is_reconciling(self, kind: str, name: str) -> bool:
        return bool(self.condition(kind, name, "Reconciling").get("status") != "False")

    def until(self, kind: str, name: str, type_: str, status: str = "True") -> Any:
        """Wait for a condition, and return it."""

        def look() -> dict[str, Any] | None:
            seen = self.condition(kind, name, type_)
            return seen if seen.get("status") == status else None

        return until(f"{type_}={status} of {kind} {name}", look)

    def jobs(self) -> list[client.V1Job]:
        return sorted(
            client.BatchV1Api(self.api).list_namespaced_job(self.namespace).items,
            key=lambda job: job.metadata.name,
        )

    def pods(self, **labels: str) -> list[client.V1Pod]:
        selector = ",".join(f"app.kubernetes.io/{name}={value}" for name, value in labels.items())
        return list(
            client.CoreV1Api(self.api).list_namespaced_pod(self.namespace, label_selector=selector).items
        )

    def clean_away(self, *jobs: str) -> None:
        """Delete Jobs, as a cleaner of a cluster does, and wait until they are gone."""
        for name in jobs:
            body = client.V1DeleteOptions(propagation_policy="Background")
            client.BatchV1Api(self.api).delete_namespaced_job(name, self.namespace, body=body)
        until("no such Jobs", lambda: not {job.metadata.name for job in self.jobs()} & set(jobs))

    def settle(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        """Change a spec, and wait until the operator has seen that, and so all that was before it."""
        self.patch(kind, name, spec)

        def is_seen() -> bool:
            seen = self.get(kind, name) or {}
            return bool(seen["status"]["observedGeneration"] == seen["metadata"]["generation"])

        until(f"{kind} {name} seen again", is_seen)

    def events(self, kind: str, name: str) -> list[tuple[str, str]]:
        found = client.CoreV1Api(self.api).list_namespaced_event(self.namespace).items
        return [
            (event.type, event.reason)
            for event in found
            if event.involved_object.kind == kind and event.involved_object.name == name
        ]
