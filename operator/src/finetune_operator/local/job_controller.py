"""Runs Jobs: makes the pods of each, and says in its status how it ended, as the Job controller does."""

from datetime import datetime

from finetune_operator.core.conditions import time_of, timestamp
from finetune_operator.core.labels import CONTROLLER_UID, POD_INDEX
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.local.clock import Clock
from finetune_operator.local.kubelet import Kubelet
from finetune_operator.local.pods import exit_code_of, is_ready, pod_of, pod_phase
from finetune_operator.local.ports import SHARED_BY_JOB, free_port
from finetune_operator.local.store import Store


class JobController:
    """One pass over every Job that has not ended. backoffLimit is 0 in every Job of ours."""

    def __init__(self, store: Store, kubelet: Kubelet, clock: Clock) -> None:
        self._store = store
        self._kubelet = kubelet
        self._clock = clock

    def sync(self) -> None:
        """Bring every Job one step further."""
        for job in list(self._store.of_kind("Job")):
            if "deletionTimestamp" in job["metadata"]:
                self._delete(job)
            elif not _has_ended(job):
                self._advance(job)

    def forget_unfinished(self) -> None:
        """Remove Jobs whose pods an engine before this one took with it; a reconcile makes them again."""
        for job in list(self._store.of_kind("Job")):
            if not _has_ended(job):
                self._store.remove(Ref.of(job))

    def _pods(self, job: Manifest) -> list[Manifest]:
        return [pod for pod in self._store.owned_by(job["metadata"]["uid"]) if pod["kind"] == "Pod"]

    def _delete(self, job: Manifest) -> None:
        """Stop the pods, and remove the Job when they are gone (foreground deletion)."""
        running = [Ref.of(pod) for pod in self._pods(job) if self._kubelet.is_running(Ref.of(pod))]
        for ref in running:
            self._kubelet.stop(ref)
        if not running:
            self._store.remove(Ref.of(job))

    def _advance(self, job: Manifest) -> None:
        pods = self._pods(job)
        if not pods:
            self._start(job)
        elif any(pod_phase(pod) == "Failed" for pod in pods) or self._is_overdue(job):
            self._end_failed(job, pods)
        elif all(pod_phase(pod) == "Succeeded" for pod in pods):
            self._end(job, "Complete", "CompletionsReached")
        else:
            self._set_status(job, ready=sum(map(is_ready, pods)), active=len(pods))

    def _start(self, job: Manifest) -> None:
        shared = {name: free_port() for name in SHARED_BY_JOB}
        name, count = job["metadata"]["name"], job["spec"].get("completions", 1)
        self._set_status(job, ready=0, active=count)
        uid = job["metadata"]["uid"]
        for index in map(str, range(count)):
            labels = {"batch.kubernetes.io/job-name": name, CONTROLLER_UID: uid, POD_INDEX: index}
            self._kubelet.start(pod_of(job, f"{name}-{index}", labels, {POD_INDEX: index}), shared)

    def _is_overdue(self, job: Manifest) -> bool:
        deadline, started = job["spec"].get("activeDeadlineSeconds"), _started(job)
        if deadline is None or started is None:
            return False
        return (self._clock.now() - started).total_seconds() >= float(deadline)

    def _end_failed(self, job: Manifest, pods: list[Manifest]) -> None:
        """Stop what still runs; the Job has failed once every pod has ended."""
        running = [Ref.of(pod) for pod in pods if self._kubelet.is_running(Ref.of(pod))]
        for ref in running:
            self._kubelet.stop(ref)
        if running:
            return
        codes = [code for code in map(exit_code_of, pods) if code]
        matched = any(_matches_policy(job, code) for code in codes)
        if self._is_overdue(job):
            self._end(job, "Failed", "DeadlineExceeded")
        else:
            self._end(job, "Failed", "PodFailurePolicy" if matched else "BackoffLimitExceeded")

    def _end(self, job: Manifest, condition: str, reason: str) -> None:
        now = timestamp(self._clock.now())
        ended = {"type": condition, "status": "True", "reason": reason, "lastTransitionTime": now}
        status = {"startTime": job["status"]["startTime"], "ready": 0, "active": 0, "conditions": [ended]}
        if condition == "Complete":
            status["completionTime"] = now
        self._store.set_status(Ref.of(job), status)

    def _set_status(self, job: Manifest, *, ready: int, active: int) -> None:
        start_time = job.get("status", {}).get("startTime") or timestamp(self._clock.now())
        self._store.set_status(Ref.of(job), {"startTime": start_time, "ready": ready, "active": active})


def _has_ended(job: Manifest) -> bool:
    return bool(job.get("status", {}).get("conditions"))


def _started(job: Manifest) -> datetime | None:
    return time_of(job.get("status", {}).get("startTime"))


def _matches_policy(job: Manifest, code: int) -> bool:
    rules = job["spec"].get("podFailurePolicy", {}).get("rules", [])
    return any(code in rule.get("onExitCodes", {}).get("values", []) for rule in rules)
