"""What was seen of a ModelDeployment's surroundings."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from finetune_operator.core.deployment_observation import ObservedDeployment
from finetune_operator.core.objects import Ref


@dataclass(frozen=True, kw_only=True)
class ObservedModel:
    """The FineTuneJob whose model is to be served, by what its status says."""

    phase: str
    claim: str
    path: str | None = None
    """Folder of the merged model in the volume, once the job is Complete."""
    complete: bool = False
    failure: str = ""
    """The message of the job's Failed condition; empty when it has not failed."""
    size_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Children with their spec hashes, the Deployment among them, and the job that makes the model."""

    children: Mapping[Ref, str] = field(default_factory=dict)
    model: ObservedModel | None = None
    """None when the named FineTuneJob is not there, or none is named."""
    deployment: ObservedDeployment | None = None
    endpoint: str | None = None
    """Base URL of the API, where it is reached from: the Service's name, or a port of this machine."""
