"""Whether a model fits the GPUs of a deployment."""

from collections.abc import Sequence

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.capacity.architecture import Weights
from finetune_operator.core.capacity.changes import Change
from finetune_operator.core.capacity.demand import Demand, FitsReason
from finetune_operator.core.capacity.fits import fits_condition
from finetune_operator.core.capacity.serving_demands import fewer_gpus, serving_changes, serving_demands
from finetune_operator.core.conditions import Condition
from finetune_operator.core.config import Config


def fits_of(deployment: ModelDeployment, weights: Weights | None, config: Config) -> Condition:
    """Return the Fits condition. weights: None where nobody knows how large the model is."""

    def changes(exceeded: Demand) -> Sequence[Change]:
        if exceeded.reason == FitsReason.TOO_MANY_GPUS:
            return fewer_gpus(deployment.spec)
        return serving_changes(deployment.spec, weights, config.gpus_per_node) if weights else ()

    return fits_condition(
        deployment, lambda deployment: serving_demands(deployment.spec, weights, config), changes
    )
