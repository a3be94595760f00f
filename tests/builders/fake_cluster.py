"""A cluster that holds one job and its children, as an API server would; and what tests say about plans."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import observing

from finetune_operator.api.base import RULES_OBEYED
from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.config import Config
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.observed.job import observe_job
from finetune_operator.core.observed.pod import observe_pod
from finetune_operator.core.outcome import Outcome
from finetune_operator.core.plan import Plan
from finetune_operator.finetune import Observed, ObservedProgress
from finetune_operator.finetune.reconcile import reconcile

JobBuilder = Callable[..., FineTuneJob]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
END = "2026-01-01T00:00:00Z"


class FakeCluster:
    """Holds one job's children and its status, as an API server would."""

    def __init__(self, job: FineTuneJob) -> None:
        self.job = job
        self.children: dict[Ref, Manifest] = {}
        self.named: dict[str, Outcome] = {}
        self.deleted_parent = False

    def observed(self, progress: ObservedProgress | None = None) -> Observed:
        jobs = [child for ref, child in self.children.items() if ref.kind == "Job"]
        return Observed(
            children=observing.children(self.children.values()),
            jobs=tuple(
                replace(observe_job(child), pods=tuple(map(observe_pod, child.get("pods", []))))
                for child in jobs
            ),
            named=self.named,
            progress=progress,
        )

    def reconcile(self, now: datetime = NOW, progress: ObservedProgress | None = None) -> Plan:
        plan = reconcile(self.job, self.observed(progress), now, Config())
        for child in plan.apply:
            self.children[Ref.of(child)] = child
        for ref in plan.delete:
            self.children.pop(ref, None)
            self.deleted_parent |= ref.kind == "FineTuneJob"
        self.update(status=plan.status)
        return plan

    def update(self, **changes: Any) -> None:
        """Change the parent: its status, or fields of its spec."""
        manifest = self.job.to_dict()
        manifest["status"] = changes.pop("status", manifest.get("status"))
        manifest["spec"] |= changes
        # As the API server, which lets be what broke a rule before the rule was there.
        context = RULES_OBEYED if manifest["spec"] == self.job.to_dict()["spec"] else None
        self.job = FineTuneJob.model_validate(manifest, context=context)

    @property
    def active(self) -> Manifest | None:
        jobs = (child for ref, child in self.children.items() if ref.kind == "Job")
        return next((child for child in jobs if "conditions" not in child.get("status", {})), None)

    def pods(self, *phases: str) -> None:
        """Give the Job that runs pods in these phases."""
        job = self.active
        assert job is not None
        metadata = {"name": "pod", "namespace": job["metadata"]["namespace"]}
        job["pods"] = [
            {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"phase": phase}}
            for phase in phases
        ]

    def end(self, code: int, *, disrupted: bool = False, told: str = "", seen: bool = True) -> None:
        """End the Job that runs. told: what its pod told at the end; seen: whether that is known already."""
        job = self.active
        assert job is not None
        condition = {
            "type": "Failed" if code else "Complete",
            "status": "True",
            "reason": "R",
            "lastTransitionTime": END,
        }
        job["status"] = {"startTime": END, "conditions": [condition]}
        ended = {"exitCode": code, "message": told or ("It broke" if code else ""), "finishedAt": END}
        phase = ("Failed" if code else "Succeeded") if seen else "Running"
        conditions = [{"type": "DisruptionTarget", "status": "True"}] if disrupted else []
        state = {"terminated": ended} if seen else {"running": {}}
        status = {
            "phase": phase,
            "containerStatuses": [{"name": "main", "state": state}],
            "conditions": conditions,
        }
        metadata = {"name": "pod", "namespace": job["metadata"]["namespace"]}
        job["pods"] = [{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}]


def names(plan: Plan) -> list[str]:
    return [f"{child['kind']}/{child['metadata']['name']}" for child in plan.apply]
