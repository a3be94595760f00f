"""The loads: parents applied at once or one after the other, and parents that are there and idle."""

import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from audit import AuditedControlPlane, AuditLog
from cluster.pods import Pods, succeed
from contenders import CLAIM, NODES, Contender
from kubernetes import client
from latency import is_of_work, latencies, request_counts, running_pods
from usage import usages, used
from waiting import until

_APPLIERS = 8
_QUIET_SECONDS = 3
_MOST_SECONDS = 900
_MOST_SECONDS_TO_PLAY = 900
_POD = {"containers": [{"name": "try", "image": "try"}], "restartPolicy": "Never"}
_ONE_NODE = {"workers": {"device": "cpu"}}
_SUSPENDED = {"scheduling": {"suspend": True}}


@dataclass(frozen=True, kw_only=True)
class Loads:
    """Loads of one contender."""

    plane: AuditedControlPlane
    api: client.ApiClient
    log: AuditLog
    contender: Contender

    def train(self, jobs: int, *, per_second: float | None = None, deletes: bool = True) -> dict[str, Any]:
        """Applies jobs, at once or at a rate, whose preparation succeeds and whose training runs for ever.

        `deletes` them afterwards: of thousands of pods that takes Kubernetes longer than all else.
        """
        namespace = f"{self.contender.plural}-{f'{per_second:g}' if per_second else 'burst'}"
        try:
            self._make_namespace(namespace, ["prepare"])
            return self._train(namespace, jobs, per_second)
        finally:
            if deletes:
                self._delete(namespace)

    def _train(self, namespace: str, jobs: int, per_second: float | None) -> dict[str, Any]:
        load = round(os.getloadavg()[0], 1)
        mark, before, others = self.log.mark(), self._usages(), self._plane_usages()
        self._apply(namespace, range(jobs), per_second=per_second)
        until(
            f"{NODES * jobs} training pods",
            lambda: time.sleep(1) or running_pods(self.contender, self.log.since(mark)) == NODES * jobs,
            timeout=_MOST_SECONDS,
        )
        self.until_quiet()
        requests = self.log.since(mark)
        return {
            "appliedPerSecond": per_second or "all at once",
            "loadAverageAtStart": load,
            "seconds": latencies(self.contender, requests),
            "requests": request_counts(self.contender, requests, jobs),
            "processes": used(before, self._usages()),
            "controlPlane": used(others, self._plane_usages()),
        }

    def idle(self, jobs: int, seconds: float) -> dict[str, Any]:
        """Looks on while nothing happens: half of the jobs went through all stages, half are suspended."""
        namespace, half = f"{self.contender.plural}-idle", jobs // 2
        self._make_namespace(namespace, list(self.contender.stage_labels))
        mark, before = self.log.mark(), self._usages()
        self._apply(namespace, range(half), changes=_ONE_NODE)
        self._until_phase(namespace, "Complete", half)
        life, lived = request_counts(self.contender, self.log.since(mark), half), self._usages()
        self._apply(namespace, range(half, jobs), changes=_ONE_NODE | _SUSPENDED)
        self._until_phase(namespace, "Suspended", jobs - half)
        mark, settled = self.log.mark(), self._usages()
        time.sleep(seconds)
        requests = self.log.since(mark)
        idle = request_counts(self.contender, requests, 1)
        leases = sum(r.resource == "leases" and r.user in self.contender.users for r in requests)
        return {
            "complete": half,
            "suspended": jobs - half,
            "wholeLife": {"requests": life, "processes": used(before, lived)},
            "seconds": seconds,
            "requestsPerMinute": round(idle["perJob"] * 60 / seconds, 2),
            "each": idle["each"],
            "leaseRequestsPerMinute": round(leases * 60 / seconds, 2),
            "processes": used(settled, self._usages()),
        }

    def there(self, jobs: int, changes: Mapping[str, Any]) -> None:
        """Applies jobs whose preparation runs for ever."""
        namespace = f"{self.contender.plural}-there"
        self._make_namespace(namespace, [])
        self._apply(namespace, range(jobs), changes=changes)
        self._until_phase(namespace, "Preparing", jobs)

    def _until_played(
        self, core: client.CoreV1Api, namespace: str, stage: str, labels: dict[str, str]
    ) -> None:
        """kwok may learn minutes later of a script, and looks at no pod again that started before."""

        def succeeds() -> bool:
            pod = {"metadata": {"generateName": f"try-{stage}-", "labels": labels}, "spec": _POD}
            name = core.create_namespaced_pod(namespace, pod).metadata.name
            time.sleep(1)
            phase = core.read_namespaced_pod(name, namespace).status.phase
            core.delete_namespaced_pod(name, namespace)
            return bool(phase == "Succeeded")

        until(f"a played {stage}", succeeds, timeout=_MOST_SECONDS_TO_PLAY)

    def _until_phase(self, namespace: str, phase: str, jobs: int) -> None:
        def is_reached() -> bool:
            time.sleep(5)
            return sum(each.get("status", {}).get("phase") == phase for each in self._list(namespace)) == jobs

        until(f"{jobs} jobs {phase}", is_reached, timeout=_MOST_SECONDS)
        self.until_quiet()

    def _usages(self) -> Any:
        return usages(self.contender.pids())

    def _plane_usages(self) -> Any:
        return usages({name: process.pid for name, process in self.plane.processes.items()})

    def _make_namespace(self, name: str, succeeding: list[str]) -> None:
        core = client.CoreV1Api(self.api)
        core.create_namespace({"metadata": {"name": name}})
        until("a service account", lambda: core.list_namespaced_service_account(name).items)
        claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
        core.create_namespaced_persistent_volume_claim(name, {"metadata": {"name": CLAIM}, "spec": claim})
        pods = Pods(api=self.api, namespace=name)
        for stage in succeeding:
            labels = dict(self.contender.stage_labels[stage])
            pods.play(labels, succeed())
            self._until_played(core, name, stage, labels)

    def _apply(
        self,
        namespace: str,
        numbers: range,
        *,
        per_second: float | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        contender = self.contender
        custom = client.CustomObjectsApi(self.api)
        start = time.monotonic()

        def apply(number: int) -> None:
            if per_second:
                time.sleep(max(0.0, start + number / per_second - time.monotonic()))
            body = contender.body(f"job-{number}", changes or {})
            custom.create_namespaced_custom_object(
                contender.group, contender.version, namespace, contender.plural, body
            )

        with ThreadPoolExecutor(_APPLIERS) as appliers:
            list(appliers.map(apply, numbers))

    def _list(self, namespace: str) -> list[dict[str, Any]]:
        contender = self.contender
        custom = client.CustomObjectsApi(self.api)
        listed = custom.list_namespaced_custom_object(
            contender.group, contender.version, namespace, contender.plural
        )
        return list(listed["items"])

    def until_quiet(self) -> None:
        """Until the controllers have asked nothing of their work for a while."""

        def count() -> int:
            return sum(is_of_work(self.contender, request) for request in self.log.read())

        before = -1
        while before != (now := count()):
            before = now
            time.sleep(_QUIET_SECONDS)

    def _delete(self, namespace: str) -> None:
        core = client.CoreV1Api(self.api)
        core.delete_namespace(namespace)

        def is_gone() -> bool:
            return all(each.metadata.name != namespace for each in core.list_namespace().items)

        until(f"no namespace {namespace}", is_gone, timeout=_MOST_SECONDS)
        self.until_quiet()
