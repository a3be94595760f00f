"""The loop of the local engine: observe, reconcile, apply, run; the same reconcile as on a cluster."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from finetune_operator.core.config import Config
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.observed.child import ObservedChild
from finetune_operator.core.observed.delay import nothing_is_late
from finetune_operator.core.observed.parent import ObservedParent
from finetune_operator.core.observed.pod import ObservedPod
from finetune_operator.core.plan import Event, Plan
from finetune_operator.kinds import KINDS, Surroundings
from finetune_operator.local.adapters import AdaptersPoller
from finetune_operator.local.changes import check_changes
from finetune_operator.local.clock import Clock
from finetune_operator.local.deployment_controller import DeploymentController
from finetune_operator.local.environments import Environments
from finetune_operator.local.failed_pod import FailedPod, newest_failed_pod
from finetune_operator.local.forgiven import forgiven
from finetune_operator.local.job_controller import JobController
from finetune_operator.local.kubelet import Kubelet
from finetune_operator.local.layout import Layout
from finetune_operator.local.named_jobs import check_named_jobs
from finetune_operator.local.progress import ProgressPoller
from finetune_operator.local.store import Store

# Their pods end first, then they are gone (foreground deletion); everything else is gone at once.
_RUNS_PODS = ("Job", "Deployment")


class Engine:
    """A control plane and a node on one machine. Not thread-safe: everything happens in `tick`."""

    def __init__(
        self,
        layout: Layout,
        environments: Environments,
        *,
        config: Config | None = None,
        clock: Clock | None = None,
        on_event: Callable[[Ref, Event], None] = lambda _ref, _event: None,
    ) -> None:
        clock = clock or Clock()
        self._config = config or Config()
        self._layout = layout
        self._clock = clock
        self._on_event = on_event
        self._given: list[Ref] = []
        self._going: list[Ref] = []
        self.store = Store(layout.objects, clock)
        self.kubelet = Kubelet(self.store, layout, environments, clock)
        self._jobs = JobController(self.store, self.kubelet, clock)
        self._deployments = DeploymentController(self.store, self.kubelet, clock)
        self._surroundings = Surroundings(
            objects=self.store.observed,
            progress_of=ProgressPoller(self.kubelet, clock).progress_of,
            endpoint_of=self._endpoint_of,
            delay_of=nothing_is_late,
            adapters_of=AdaptersPoller(self.kubelet, clock).adapters_of,
            requests_of=lambda _: None,
        )
        self._stopping = False
        self._forget_what_ran()

    def apply(self, manifests: Iterable[Manifest]) -> None:
        """Take manifests of both kinds, as `kubectl apply` would. They must be valid.

        A job that had failed is tried again: whoever runs it again has done what the failure said. Raises
        LocalError for a change that a job which has started does not take, or an adapter that nobody trains.
        """
        manifests = list(manifests)
        check_named_jobs(manifests, self._given, self.store)
        for manifest in manifests:
            before = self.store.get(Ref.of(manifest))
            check_changes(before, manifest)
            parent = self.store.apply(forgiven(manifest, before, self._clock))
            self._given.append(Ref.of(parent))

    def delete(self, ref: Ref) -> None:
        """Delete an object and its children, whose pods stop first; `tick` does it."""
        self._given = [given for given in self._given if given != ref]
        self._going.append(ref)

    @property
    def parents(self) -> list[Manifest]:
        """The objects that were given, and the deployments that given jobs made."""
        return list(self._parents())

    def tick(self) -> None:
        """Go round once."""
        for parent in self.parents:
            self._reconcile(parent)
        for ref in self._going:
            self._delete(ref)
        self._jobs.sync()
        self._deployments.sync()
        self.kubelet.sync()

    def stop(self) -> None:
        """Suspend every job and scale every deployment to nothing, from now on; `tick` does the rest."""
        self._stopping = True

    @property
    def is_deleting(self) -> bool:
        """Whether something that is deleted is still there."""
        return bool(self._going)

    @property
    def is_idle(self) -> bool:
        """Whether no pod runs."""
        return self.kubelet.is_idle

    def failed_pod_of(self, parent: Manifest) -> FailedPod | None:
        """Return the pod below a parent that failed last."""
        owners = [c for c in self.store.owned_by(parent["metadata"]["uid"]) if c["kind"] in _RUNS_PODS]
        pods = [pod for owner in owners for pod in self.store.owned_by(owner["metadata"]["uid"])]
        return newest_failed_pod(pods, self._layout)

    def _parents(self) -> Iterator[Manifest]:
        for ref in self._given:
            if parent := self.store.get(ref):
                yield parent
                yield from (c for c in self.store.owned_by(parent["metadata"]["uid"]) if c["kind"] in KINDS)

    def _reconcile(self, parent: Manifest) -> None:
        kind, ref = KINDS[parent["kind"]], Ref.of(parent)
        if observed := self.store.observed.get(ref, ObservedParent):
            asked_for = kind.paused(observed) if self._stopping else observed
            self._apply(ref, kind.reconcile(asked_for, self._surroundings, self._clock.now(), self._config))

    def _delete(self, ref: Ref) -> None:
        """Mark what runs pods; once that is gone, remove the rest."""
        run_pods = [child for child in self._below(ref) if child["kind"] in _RUNS_PODS]
        for child in run_pods:
            self.store.mark_deleted(Ref.of(child))
        if not run_pods:
            self.store.remove(ref)
            self._going = [going for going in self._going if going != ref]

    def _below(self, ref: Ref) -> Iterator[Manifest]:
        """Yield what belongs to an object, and to those."""
        parent = self.store.get(ref)
        for child in list(self.store.owned_by(parent["metadata"]["uid"])) if parent else ():
            yield child
            yield from self._below(Ref.of(child))

    def _apply(self, parent: Ref, plan: Plan) -> None:
        for child in plan.apply:
            self.store.apply(child)
        for ref in plan.delete:
            if ref.kind in _RUNS_PODS:
                self.store.mark_deleted(ref)
            else:
                self.store.remove(ref)
        self.store.set_status(parent, plan.status)
        for event in plan.events:
            self._on_event(parent, event)

    def _endpoint_of(self, _children: Sequence[ObservedChild], pods: Sequence[ObservedPod]) -> str | None:
        """Return the address of the first replica that runs: one machine has no load balancer."""
        ports = (self.kubelet.port_of(pod.ref, "http") for pod in pods)
        return next((f"http://127.0.0.1:{port}" for port in ports if port), None)

    def _forget_what_ran(self) -> None:
        """Remove what an engine before this one took with it: a machine that starts has no processes."""
        self._jobs.forget_unfinished()
        for deployment in list(self.store.of_kind("Deployment")):
            self.store.remove(Ref.of(deployment))
