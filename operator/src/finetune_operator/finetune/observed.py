"""What was seen of a FineTuneJob's surroundings, on a cluster or by the local engine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from finetune_operator.core.objects import Ref
from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.child import ObservedChild
from finetune_operator.core.observed.delay import DelayOf, nothing_is_late, pods_of
from finetune_operator.core.observed.job import JobState, ObservedJob
from finetune_operator.core.observed.parent import ObservedParent
from finetune_operator.core.observed.pod import ObservedPod
from finetune_operator.core.outcome import Outcome, outcome_of
from finetune_operator.core.waiting import first_of


@dataclass(frozen=True, kw_only=True)
class ObservedProgress:
    """The answer of GET /progress, by contract/README.md; None where unknown."""

    stage: str
    step: int | None = None
    total_steps: int | None = None
    loss: float | None = None
    validation_loss: float | None = None
    reward_accuracy: float | None = None
    reward_margin: float | None = None
    tokens_per_second: float | None = None
    expert_load: float | None = None
    expert_rank_load: float | None = None
    slowest_rank: int | None = None
    slowdown: float | None = None
    eta_seconds: float | None = None
    last_checkpoint: str | None = None
    samples: tuple[tuple[str, str], ...] = ()
    """Prompts and answers."""
    samples_step: int | None = None
    tracking: tuple[tuple[str, str], ...] = ()
    """Where each tracker shows the run."""
    bytes_done: int | None = None
    bytes_total: int | None = None


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Children as far as they are kept, the Jobs among them, and the newest progress."""

    children: Mapping[Ref, ObservedChild] = field(default_factory=dict)
    jobs: tuple[ObservedJob, ...] = ()
    named: Mapping[str, Outcome] = field(default_factory=dict)
    """FineTuneJobs by their names, for the adapter that training starts from; those that are there."""
    progress: ObservedProgress | None = None


def observe_fine_tune_job(
    parent: ObservedParent,
    objects: Cache,
    progress_of: Callable[[ObservedPod], ObservedProgress | None],
    delay_of: DelayOf,
) -> Observed:
    """Return what is seen of a FineTuneJob's children; pod 0 of the Job that runs tells the progress."""
    children = objects.owned_by(parent, ObservedChild)
    claim = first_of(delay_of(child) for child in children if child.ref.kind == "PersistentVolumeClaim")
    jobs = tuple(
        replace(
            with_pods(job, objects, delay_of),
            delay=first_of((delay_of(job), claim)) if job.state is JobState.ACTIVE else None,
        )
        for job in children
        if isinstance(job, ObservedJob)
    )
    answers = (progress_of(job.speaker) for job in jobs if job.speaker)
    named = {ref.name: objects.get(ref, ObservedParent) for ref in parent.named_jobs}
    return Observed(
        children={child.ref: child for child in children},
        jobs=jobs,
        named={name: outcome_of(job.manifest) for name, job in named.items() if job},
        progress=next((answer for answer in answers if answer), None),
    )


def with_pods(job: ObservedJob, objects: Cache, delay_of: DelayOf = nothing_is_late) -> ObservedJob:
    """Return a Job with the pods that it has now, and why those that are late are."""
    return replace(job, pods=pods_of(job, objects, delay_of))
