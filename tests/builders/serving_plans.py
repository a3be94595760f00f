"""The plan of a ModelDeployment, by what its jobs came to and by what was observed."""

from datetime import UTC, datetime
from typing import Any

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.config import Config, Images
from finetune_operator.core.objects import Manifest
from finetune_operator.core.outcome import Outcome
from finetune_operator.core.plan import Plan
from finetune_operator.serving import Observed
from finetune_operator.serving.reconcile import reconcile

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG = Config(images=Images(server="server:test"))
PATH = "runs/default/faq/3f2a9c1b/merged"
READY = Outcome(claim="shared", model_path=PATH, complete=True)
TRAINING = Outcome(claim="shared", standing="The train stage runs")


def plan(
    parent: ModelDeployment,
    model: Outcome | None = None,
    jobs: dict[str, Outcome] | None = None,
    **observed: Any,
) -> Plan:
    """The plan at NOW; `model` is what the job faq came to."""
    jobs = {**(jobs or {}), **({"faq": model} if model else {})}
    return reconcile(parent, Observed(jobs=jobs, **observed), NOW, CONFIG)


def server_of(plan: Plan) -> Manifest:
    """The container that serves."""
    (container,) = plan.apply[-1]["spec"]["template"]["spec"]["containers"]
    assert isinstance(container, dict)
    return container
