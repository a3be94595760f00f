"""Runs Deployments: as many ready pods of the newest template as asked for, crashed ones started again."""

from datetime import datetime, timedelta

from finetune_operator.core.conditions import timestamp
from finetune_operator.core.digest import digest
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.local.clock import Clock
from finetune_operator.local.kubelet import Kubelet
from finetune_operator.local.pods import is_ready, pod_of, pod_phase
from finetune_operator.local.store import Store

_TEMPLATE_HASH = "pod-template-hash"
_FIRST_BACKOFF_SECONDS, _MOST_BACKOFF_SECONDS = 5.0, 300.0


class DeploymentController:
    """One pass over every Deployment. Old pods go before new ones come: one machine has no room for both."""

    def __init__(self, store: Store, kubelet: Kubelet, clock: Clock) -> None:
        self._store = store
        self._kubelet = kubelet
        self._clock = clock
        self._restarts: dict[Ref, int] = {}
        self._restart_at: dict[Ref, datetime] = {}

    def sync(self) -> None:
        """Bring every Deployment one step further."""
        for deployment in list(self._store.of_kind("Deployment")):
            if "deletionTimestamp" in deployment["metadata"]:
                self._delete(deployment)
            else:
                self._advance(deployment)

    def _pods(self, deployment: Manifest) -> list[Manifest]:
        return [pod for pod in self._store.owned_by(deployment["metadata"]["uid"]) if pod["kind"] == "Pod"]

    def _delete(self, deployment: Manifest) -> None:
        if self._stop(self._pods(deployment)):
            self._store.remove(Ref.of(deployment))

    def _stop(self, pods: list[Manifest]) -> bool:
        """Stop pods and remove those that have ended; return whether all are gone."""
        gone = True
        for ref in map(Ref.of, pods):
            if self._kubelet.is_running(ref):
                self._kubelet.stop(ref)
                gone = False
            else:
                self._store.remove(ref)
        return gone

    def _advance(self, deployment: Manifest) -> None:
        template_hash = digest(deployment["spec"]["template"])[:10]
        name, replicas = deployment["metadata"]["name"], deployment["spec"].get("replicas", 1)
        wanted = [f"{name}-{template_hash}-{index}" for index in range(replicas)]
        pods = {pod["metadata"]["name"]: pod for pod in self._pods(deployment)}
        if self._stop([pod for pod_name, pod in pods.items() if pod_name not in wanted]):
            for pod_name in wanted:
                self._ensure(deployment, pod_name, pods.get(pod_name), template_hash)
        self._set_status(deployment, self._pods(deployment))

    def _ensure(self, deployment: Manifest, name: str, pod: Manifest | None, template_hash: str) -> None:
        """Start a pod that is not there, or that has ended once its backoff is over."""
        if pod is not None and (pod_phase(pod) == "Running" or self._kubelet.is_running(Ref.of(pod))):
            return
        if pod is not None and not self._may_restart(Ref.of(pod)):
            return
        self._kubelet.start(pod_of(deployment, name, {_TEMPLATE_HASH: template_hash}))

    def _may_restart(self, ref: Ref) -> bool:
        """Return whether the wait since a pod's end is over; it doubles with every restart."""
        now, restarts = self._clock.now(), self._restarts.get(ref, 0)
        wait = min(_FIRST_BACKOFF_SECONDS * 2.0**restarts, _MOST_BACKOFF_SECONDS)
        if now < self._restart_at.setdefault(ref, now + timedelta(seconds=wait)):
            return False
        del self._restart_at[ref]
        self._restarts[ref] = restarts + 1
        return True

    def _set_status(self, deployment: Manifest, pods: list[Manifest]) -> None:
        ready = sum(map(is_ready, pods))
        replicas = deployment["spec"].get("replicas", 1)
        available = ready >= replicas
        before = deployment.get("status", {}).get("conditions", [{}])[0]
        status = "True" if available else "False"
        since = (
            before["lastTransitionTime"] if before.get("status") == status else timestamp(self._clock.now())
        )
        condition = {
            "type": "Available",
            "status": status,
            "reason": "MinimumReplicasAvailable" if available else "MinimumReplicasUnavailable",
            "lastTransitionTime": since,
        }
        self._store.set_status(
            Ref.of(deployment),
            {
                "observedGeneration": deployment["metadata"]["generation"],
                "replicas": len(pods),
                "updatedReplicas": len(pods),
                "readyReplicas": ready,
                "availableReplicas": ready,
                "conditions": [condition],
            },
        )
