"""What was seen of a FineTuneJob's surroundings, by kube or by the local engine."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from finetune_operator.core.job_observation import ObservedJob
from finetune_operator.core.objects import Manifest, Ref


@dataclass(frozen=True, kw_only=True)
class ObservedProgress:
    """The answer of GET /progress, by contract/README.md; None where unknown."""

    stage: str
    step: int | None = None
    total_steps: int | None = None
    loss: float | None = None
    validation_loss: float | None = None
    tokens_per_second: float | None = None
    eta_seconds: float | None = None
    last_checkpoint: str | None = None


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Children as far as they are kept, the Jobs among them, and the newest progress."""

    children: Mapping[Ref, Manifest] = field(default_factory=dict)
    jobs: tuple[ObservedJob, ...] = ()
    progress: ObservedProgress | None = None
