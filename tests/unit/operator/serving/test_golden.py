"""The children of a whole manifest, byte for byte: the 671B model on eight GPUs of one node."""

from collections.abc import Callable
from datetime import UTC, datetime

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.capacity.architecture import FLAVORS, Weights
from finetune_operator.core.config import Config, Images
from finetune_operator.core.objects import Manifest
from finetune_operator.core.outcome import Outcome
from finetune_operator.serving import Observed
from finetune_operator.serving.reconcile import reconcile

CONFIG = Config(images=Images(server="server:test"))
MODEL = Outcome(
    claim="support-671b-storage",
    model_path="runs/ml/support-671b/3f2a9c1b/merged",
    complete=True,
    weights=Weights(model=FLAVORS["671B_lora"], dtype="float8"),
)


def test_children(
    golden_manifest: Callable[[str], Manifest], check_children: Callable[[str, list[Manifest]], None]
) -> None:
    deployment = ModelDeployment.model_validate(golden_manifest("serve-671b"))
    plan = reconcile(
        deployment, Observed(jobs={"support-671b": MODEL}), datetime(2026, 1, 1, tzinfo=UTC), CONFIG
    )
    check_children("serve-671b", list(plan.apply))
