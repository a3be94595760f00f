"""A deployment whose new version is tried, with controllers and a Gateway that a test plays."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import observing

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.conditions import timestamp
from finetune_operator.core.config import Config
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.observed.deployment import ObservedDeployment
from finetune_operator.core.observed.http_route import ObservedRoute
from finetune_operator.core.observed.kinds import observe
from finetune_operator.core.outcome import Outcome
from finetune_operator.core.plan import Plan
from finetune_operator.core.termination import Termination
from finetune_operator.serving import Observed
from finetune_operator.serving.reconcile import reconcile
from finetune_operator.serving.server_requests import ServerRequests

Builder = Callable[..., ModelDeployment]
START = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG = Config(has_http_routes=True)
GATEWAY = [{"name": "public", "namespace": "gateways"}]


def rollout(**canary: Any) -> Manifest:
    return {"canary": {"parentRefs": GATEWAY, "weights": [10, 50], "intervalSeconds": 60, **canary}}


class FakeCluster:
    """Holds one deployment's children; a test says what controllers and Gateways make of them."""

    def __init__(self, parent: ModelDeployment) -> None:
        self.parent = parent
        self.children: dict[Ref, Manifest] = {}
        self.run = "one"
        self.now = START
        self.requests: dict[str, ServerRequests] = {}
        self.evaluated = False
        self.crash: Termination | None = None

    def child(self, kind: str, name: str = "faq") -> Manifest | None:
        found = (c for ref, c in self.children.items() if (ref.kind, ref.name) == (kind, name))
        return next(found, None)

    def served(self, name: str = "faq") -> str:
        server = self.child("Deployment", name)
        assert server is not None
        (container,) = server["spec"]["template"]["spec"]["containers"]
        return str(container["args"][0]).split("/")[3]

    @property
    def weights(self) -> dict[str, int]:
        route = self.child("HTTPRoute")
        assert route is not None
        seen = observe(route)
        assert isinstance(seen, ObservedRoute)
        return dict(seen.weights)

    @property
    def names(self) -> set[tuple[str, str]]:
        return {(ref.kind, ref.name) for ref in self.children}

    def reconcile(self) -> Plan:
        children = observing.children(self.children.values())
        servers = {ref.name: c for ref, c in children.items() if isinstance(c, ObservedDeployment)}
        canary = servers.get("faq-canary")
        if canary and self.crash:
            canary = replace(canary, pods=(observing.failed_pod(self.crash, restarts=3),))
        path = f"runs/{self.run}/merged"
        job = Outcome(claim="shared", model_path=path, complete=True, evaluated=self.evaluated)
        observed = Observed(
            children=children,
            jobs={"faq": job},
            deployment=servers.get("faq"),
            canary=canary,
            route=next((c for c in children.values() if isinstance(c, ObservedRoute)), None),
            requests=self.requests,
        )
        plan = reconcile(self.parent, observed, self.now, CONFIG)
        for child in plan.apply:
            self._apply(child)
        for ref in plan.delete:
            del self.children[ref]
        self.parent = ModelDeployment.model_validate({**self.parent.to_dict(), "status": plan.status})
        return plan

    def _apply(self, child: Manifest) -> None:
        before = self.children.get(Ref.of(child), {})
        is_same = before.get("spec") == child.get("spec")
        generation = before.get("metadata", {}).get("generation", 0) + (0 if is_same else 1)
        metadata = {**child["metadata"], "generation": generation}
        self.children[Ref.of(child)] = {**child, "metadata": metadata, "status": before.get("status", {})}

    def change(self, **spec: Any) -> Plan:
        manifest = self.parent.to_dict()
        self.parent = ModelDeployment.model_validate({**manifest, "spec": {**manifest["spec"], **spec}})
        return self.reconcile()

    def tune(self, run: str) -> Plan:
        self.run = run
        return self.reconcile()

    def ready(self, name: str = "faq", ready: int = 1) -> Plan:
        """The Deployment has rolled its template out; not ready: it is late."""
        server = self.child("Deployment", name)
        assert server is not None
        since = timestamp(self.now)
        reason = "NewReplicaSetAvailable" if ready else "ProgressDeadlineExceeded"
        conditions = [
            {"type": "Progressing", "reason": reason, "lastTransitionTime": since},
            {"type": "Available", "status": "True" if ready else "False", "lastTransitionTime": since},
        ]
        server["status"] = {
            "observedGeneration": server["metadata"]["generation"],
            "conditions": conditions,
            "replicas": 1,
            "updatedReplicas": 1,
            "readyReplicas": ready,
        }
        return self.reconcile()

    def gateway_takes_it(self, status: str = "True", message: str = "") -> Plan:
        route = self.child("HTTPRoute")
        assert route is not None
        since = {"lastTransitionTime": timestamp(self.now)}
        said = {"observedGeneration": route["metadata"]["generation"], "message": message, **since}
        conditions = [
            {"type": "Accepted", "status": status, "reason": "Said", **said},
            {"type": "ResolvedRefs", "status": "True", "reason": "Said", **said},
        ]
        route["status"] = {"parents": [{"parentRef": GATEWAY[0], "conditions": conditions}]}
        return self.reconcile()

    def later(self, seconds: float = 60) -> Plan:
        self.now += timedelta(seconds=seconds)
        return self.reconcile()


def conditions(plan: Plan) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in plan.status["conditions"]}


def cluster_of(deployment: Builder, **canary: Any) -> FakeCluster:
    """A first model is served, and a second is tried."""
    cluster = FakeCluster(deployment(rollout=rollout(**canary)))
    cluster.reconcile()
    cluster.ready()
    cluster.gateway_takes_it()
    cluster.tune("two")
    return cluster


def at_first_step(cluster: FakeCluster) -> FakeCluster:
    cluster.ready("faq-canary")
    cluster.gateway_takes_it()
    assert cluster.weights == {"faq": 90, "faq-canary": 10}
    return cluster
