"""What was seen of a ModelDeployment's surroundings."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from finetune_operator.core.capacity.architecture import Weights
from finetune_operator.core.deployment_observation import ObservedDeployment
from finetune_operator.core.objects import Manifest, Ref


@dataclass(frozen=True, kw_only=True)
class ObservedModel:
    """A FineTuneJob whose model or adapter is to be served, by what its status says."""

    phase: str
    claim: str
    path: str | None = None
    """Folder of the merged model in the volume, once the job is Complete."""
    adapter_path: str | None = None
    """Folder of the adapter in the volume, once the job is Trained."""
    rank: int | None = None
    """Of the adapter."""
    complete: bool = False
    failure: str = ""
    """The message of the job's Failed condition; empty when it has not failed."""
    weights: Weights | None = None
    """What is to be served, where that is known."""


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Children as far as they are kept, the Deployment among them, and the jobs that are named."""

    children: Mapping[Ref, Manifest] = field(default_factory=dict)
    jobs: Mapping[str, ObservedModel] = field(default_factory=dict)
    """FineTuneJobs by their names, for the model and for adapters; those that are there."""
    deployment: ObservedDeployment | None = None
    endpoint: str | None = None
    """Base URL of the API, where it is reached from: the Service's name, or a port of this machine."""
