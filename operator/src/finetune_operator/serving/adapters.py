"""Whether every server has every adapter, by what each told; a server that did not answer has none."""

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.conditions import Condition
from finetune_operator.core.objects import Manifest, without_empty
from finetune_operator.serving.model import NoModel, ServedModel, checkpoint_of
from finetune_operator.serving.observed import Observed
from finetune_operator.serving.reasons import MESSAGES, ServingReason


def adapters_condition(
    deployment: ModelDeployment, model: ServedModel | NoModel, observed: Observed
) -> Condition | None:
    """Return AdaptersReady, with the first thing that is wrong; None where no adapters are wanted."""
    if isinstance(model, NoModel) or not deployment.spec.adapters:
        return None
    replicas = deployment.spec.replicas
    served = (_problem(adapter.name, adapter.path, replicas, observed) for adapter in model.adapters)
    problems = [*(why for _, why in model.awaited), *filter(None, served)]
    worst = next((problem for problem in problems if problem.final), next(iter(problems), None))
    if worst:
        return Condition(
            type="AdaptersReady",
            status="False",
            reason=worst.reason,
            message=worst.message,
            failure=worst.final,
            silent=True,  # Progressing says it too
        )
    ready = ServingReason.ADAPTERS_READY
    return Condition(type="AdaptersReady", status="True", reason=ready, message=MESSAGES[ready], silent=True)


def adapters_status(
    deployment: ModelDeployment, model: ServedModel | NoModel, observed: Observed
) -> list[Manifest]:
    """Return each adapter that is wanted, and which servers have it."""
    if isinstance(model, NoModel):
        return []
    served = {adapter.name: adapter.path for adapter in model.adapters}
    awaited = {name: why.message for name, why in model.awaited}
    told = []
    for name in (adapter.name for adapter in deployment.spec.adapters):
        path = served.get(name)
        problem = _problem(name, path, deployment.spec.replicas, observed) if path else None
        message = awaited.get(name) or (problem.message if problem else None)
        pods = _having(name, path, observed) if path else []
        told.append(
            without_empty(
                {
                    "name": name,
                    "path": path,
                    "pods": pods,
                    "checkpoints": _checkpoints(name, observed),
                    "message": message,
                }
            )
        )
    return told


def _checkpoints(name: str, observed: Observed) -> dict[str, str]:
    """Return the checkpoint that each server has of an adapter, whether it is the newest or not."""
    found = {pod: checkpoint_of(told.paths.get(name, "")) for pod, told in sorted(observed.adapters.items())}
    return {pod: checkpoint for pod, checkpoint in found.items() if checkpoint}


def _having(name: str, path: str, observed: Observed) -> list[str]:
    return sorted(pod for pod, told in observed.adapters.items() if told.paths.get(name) == path)


def _problem(name: str, path: str, replicas: int, observed: Observed) -> NoModel | None:
    """Return why not every server has an adapter; None when all have."""
    having = _having(name, path, observed)
    lacking = [pod for pod in sorted(observed.adapters) if pod not in having]
    if len(having) >= replicas and not lacking:
        return None
    refusing = next((pod for pod in lacking if name in observed.adapters[pod].refused), None)
    if refusing:
        reason, why = ServingReason.ADAPTER_REFUSED, observed.adapters[refusing].refused[name]
        message = MESSAGES[reason].format(pod=refusing, name=name, message=why)
        return NoModel(reason=reason, message=message, final=True)
    reason = ServingReason.ADAPTERS_LOADING
    message = MESSAGES[reason].format(having=len(having), replicas=replicas, name=name)
    return NoModel(reason=reason, message=message)
