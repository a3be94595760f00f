"""The metrics of docs/guides/metrics.md, read from the cache at each scrape: what is deleted has none."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from finetune_operator.core.objects import Manifest
from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.child import ObservedChild
from finetune_operator.core.observed.deployment import ObservedDeployment
from finetune_operator.core.observed.job import JobState, ObservedJob
from finetune_operator.core.observed.parent import ObservedParent
from finetune_operator.kube.progress import ProgressPoller
from finetune_operator.kube.resources import CHILDREN, PARENTS
from finetune_operator.kube.work_queue import WorkQueue

_NAMED = ("namespace", "name")
_JOB_STATES = {JobState.SUCCEEDED: "succeeded", JobState.FAILED: "failed"}


@dataclass(frozen=True, kw_only=True)
class _Told:
    """A parent's spec and status, which are kept as text: read once a scrape."""

    key: tuple[str, str]
    spec: Manifest
    status: Manifest

    @property
    def conditions(self) -> list[Manifest]:
        """The conditions of its status."""
        return list(self.status.get("conditions", []))


def _told(parent: ObservedParent) -> _Told:
    return _Told(key=_key(parent), spec=parent.spec or {}, status=parent.status)


class OperatorCollector(Collector):
    """Everything that is a state; counts are kept where things happen."""

    def __init__(self, cache: Cache, queue: WorkQueue, poller: ProgressPoller) -> None:
        self._cache = cache
        self._queue = queue
        self._poller = poller

    def collect(self) -> Iterable[Metric]:
        """Yield all gauges. Called in the thread of the metrics server: it only reads."""
        yield _gauge("finetune_build_info", "1", ("version",), [((version("finetune-operator"),), 1)])
        yield _gauge(
            "finetune_queue_depth",
            "Objects that wait for a reconcile",
            ("kind",),
            [((parent.kind,), self._queue.depth(parent.kind)) for parent in PARENTS],
        )
        yield self._children()
        jobs = list(self._cache.of_kind("FineTuneJob", ObservedParent))
        told = list(map(_told, jobs))
        yield from _states("job", told)
        yield from _job_fields(told)
        yield from self._job_progress(jobs)
        deployments = list(map(_told, self._cache.of_kind("ModelDeployment", ObservedParent)))
        yield from _states("deployment", deployments)
        yield from _deployment_fields(deployments)

    def _children(self) -> Metric:
        counts = Counter(
            (child.kind, _state(obj))
            for child in CHILDREN
            for obj in self._cache.of_kind(child.kind, ObservedChild)
        )
        return _gauge(
            "finetune_children",
            "Objects that the operator made",
            ("kind", "state"),
            [(labels, count) for labels, count in counts.items()],
        )

    def _job_progress(self, jobs: list[ObservedParent]) -> Iterator[Metric]:
        labels = (*_NAMED, "stage")
        ratio = GaugeMetricFamily("finetune_job_progress_ratio", "Steps done of all steps", labels=labels)
        newest = GaugeMetricFamily(
            "finetune_job_last_progress_timestamp_seconds", "Time of the newest step", labels=labels
        )
        eta = GaugeMetricFamily(
            "finetune_job_eta_seconds", "Seconds that the stage still takes", labels=labels
        )
        for job, child in ((j, c) for j in jobs for c in self._cache.owned_by(j, ObservedJob)):
            key = [*_key(job), child.component]
            started, answer = self._poller.started_at(child), self._poller.answer_of(child)
            if started is None:
                continue
            newest.add_metric(key, (answer.advanced_at if answer else started).timestamp())
            if answer and answer.progress.step is not None and answer.progress.total_steps:
                ratio.add_metric(key, answer.progress.step / answer.progress.total_steps)
            if answer and answer.progress.eta_seconds is not None:
                eta.add_metric(key, answer.progress.eta_seconds)
        yield from (ratio, newest, eta)


def _job_fields(jobs: list[_Told]) -> Iterator[Metric]:
    info = [
        ((*job.key, job.status["run"], job.spec.get("flavor", "auto")), 1.0)
        for job in jobs
        if "run" in job.status
    ]
    yield _gauge("finetune_job_info", "1", (*_NAMED, "run", "flavor"), info)
    restarts = [(job.key, job.status["restarts"]) for job in jobs if "restarts" in job.status]
    yield _gauge("finetune_job_restarts", "Attempts that failed and count", _NAMED, restarts)
    for field, name, text in (
        ("loss", "finetune_job_loss", "Training loss of the newest step"),
        ("validationLoss", "finetune_job_validation_loss", "Newest loss on the data held out"),
        ("rewardAccuracy", "finetune_job_reward_accuracy", "Share of pairs that the newest step has right"),
        ("rewardMargin", "finetune_job_reward_margin", "By which the chosen answer is ahead"),
        ("tokensPerSecond", "finetune_job_tokens_per_second", "Over all processes"),
        ("expertLoad", "finetune_job_expert_load", "Tokens of the fullest expert over the mean"),
        ("expertRankLoad", "finetune_job_expert_rank_load", "Tokens of the fullest rank over the mean"),
        ("slowestRank", "finetune_job_slowest_rank", "The rank that was waited for most"),
        ("slowdown", "finetune_job_slowdown", "Its time alone over that of a rank in the middle"),
    ):
        said = [(job.key, job.status.get("progress", {}).get(field)) for job in jobs]
        yield _gauge(name, text, _NAMED, [(key, value) for key, value in said if value is not None])


def _deployment_fields(deployments: list[_Told]) -> Iterator[Metric]:
    wanted = [(d.key, d.spec.get("replicas", 1)) for d in deployments]
    yield _gauge("finetune_deployment_replicas", "Replicas asked for", _NAMED, wanted)
    ready = [(d.key, d.status.get("readyReplicas", 0)) for d in deployments]
    yield _gauge("finetune_deployment_ready_replicas", "Replicas that answer", _NAMED, ready)
    why = [
        ((*d.key, c["reason"]), 1.0)
        for d in deployments
        for c in d.conditions
        if c["type"] == "Available" and c["status"] != "True"
    ]
    text = "1 for the reason why it is not available"
    yield _gauge("finetune_deployment_unavailable_reason", text, (*_NAMED, "reason"), why)


def _states(noun: str, parents: list[_Told]) -> Iterator[Metric]:
    phases = [((*p.key, p.status["phase"]), 1.0) for p in parents if "phase" in p.status]
    yield _gauge(f"finetune_{noun}_phase", "1 for the phase that it is in", (*_NAMED, "phase"), phases)
    conditions = [((*p.key, c["type"]), float(c["status"] == "True")) for p in parents for c in p.conditions]
    yield _gauge(
        f"finetune_{noun}_condition", "1 when the condition is True", (*_NAMED, "condition"), conditions
    )


def _state(obj: ObservedChild) -> str:
    """Return what an object that the operator made is doing; one that only has to be there is running."""
    if isinstance(obj, ObservedJob):
        return _JOB_STATES.get(obj.state, "running" if obj.ready_pods else "pending")
    if isinstance(obj, ObservedDeployment):
        return "running" if obj.ready else "pending"
    if obj.ref.kind == "PersistentVolumeClaim":
        return "running" if obj.phase == "Bound" else "pending"
    return "running"


def _key(obj: ObservedParent) -> tuple[str, str]:
    return obj.ref.namespace, obj.ref.name


def _gauge(
    name: str, text: str, labels: tuple[str, ...], samples: Iterable[tuple[tuple[str, ...], float]]
) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in samples:
        family.add_metric(list(key), value)
    return family
