"""The status of a ModelDeployment, computed from what was observed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.conditions import Condition, set_conditions
from finetune_operator.core.objects import Manifest, without_empty
from finetune_operator.serving.adapters import adapters_status
from finetune_operator.serving.children.names import answering
from finetune_operator.serving.conditions import deployment_phase
from finetune_operator.serving.model import NoModel, ServedModel
from finetune_operator.serving.observed import Observed
from finetune_operator.serving.rollout import Rollout


def previous_status(deployment: ModelDeployment) -> dict[str, Any]:
    """Return the status that the deployment carries, as YAML has it."""
    return deployment.status.to_dict() if deployment.status else {}


def build_status(
    deployment: ModelDeployment,
    model: ServedModel | NoModel,
    rollout: Rollout | None,
    conditions: Sequence[Condition],
    observed: Observed,
    canary: Manifest | None,
    now: datetime,
) -> Manifest:
    """Return the whole status."""
    generation = deployment.metadata.generation
    before = previous_status(deployment).get("conditions", [])
    status = {
        "observedGeneration": generation,
        "phase": deployment_phase(list(conditions)),
        "modelPath": rollout.current.model if rollout else None,
        "endpoint": observed.endpoint,
        "replicas": observed.deployment.replicas if observed.deployment else 0,
        "readyReplicas": observed.deployment.ready if observed.deployment else 0,
        "selector": ",".join(f"{label}={value}" for label, value in answering(deployment).items()),
        "adapters": adapters_status(deployment, model, observed),
        "canary": canary,
        "conditions": set_conditions(before, conditions, generation=generation, now=now),
    }
    return without_empty(status)
