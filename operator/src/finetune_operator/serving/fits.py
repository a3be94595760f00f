"""Whether a model fits the GPUs of a deployment."""

from collections.abc import Sequence

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.capacity.architecture import Weights
from finetune_operator.core.capacity.changes import Change
from finetune_operator.core.capacity.demand import Demand
from finetune_operator.core.capacity.fits import fits_condition
from finetune_operator.core.capacity.serving_demands import serving_changes, serving_demands
from finetune_operator.core.conditions import Condition
from finetune_operator.core.config import Config
from finetune_operator.core.quantity import parse_bytes


def fits_of(deployment: ModelDeployment, weights: Weights | None, config: Config) -> Condition:
    """Return the Fits condition. weights: None where nobody knows how large the model is."""

    def changes(_exceeded: Demand) -> Sequence[Change]:
        return serving_changes(deployment.spec, weights) if weights else ()

    return fits_condition(deployment, lambda deployment: demands_of(deployment, weights, config), changes)


def demands_of(deployment: ModelDeployment, weights: Weights | None, config: Config) -> tuple[Demand, ...]:
    """Return what a replica needs."""
    if weights is None:
        return ()
    gpu_memory = parse_bytes(deployment.spec.gpu_memory or config.gpu_memory)
    return serving_demands(deployment.spec, weights, gpu_memory)
