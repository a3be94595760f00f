"""The children of whole manifests, byte for byte: the 671B model on a node in FP8, on two in bfloat16."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.capacity.architecture import FLAVORS, Weights
from finetune_operator.core.config import Config, Images
from finetune_operator.core.objects import Manifest
from finetune_operator.core.outcome import Outcome
from finetune_operator.serving import Observed
from finetune_operator.serving.reconcile import reconcile

CONFIG = Config(images=Images(server="server:test"), has_leader_worker_sets=True)
MODEL = Outcome(
    claim="support-671b-storage",
    model_path="runs/ml/support-671b/3f2a9c1b/merged",
    complete=True,
    weights=Weights(model=FLAVORS["671B_lora"], dtype="float8"),
)


BFLOAT16 = replace(MODEL, weights=Weights(model=FLAVORS["671B_lora"], dtype="bfloat16"))


@pytest.mark.parametrize(
    ("name", "model"),
    [
        pytest.param("serve-671b", MODEL, id="one node"),
        pytest.param("serve-671b-nodes", BFLOAT16, id="two nodes"),
    ],
)
def test_children(
    golden_manifest: Callable[[str], Manifest],
    check_children: Callable[[str, list[Manifest]], None],
    name: str,
    model: Outcome,
) -> None:
    deployment = ModelDeployment.model_validate(golden_manifest(name))
    plan = reconcile(
        deployment, Observed(jobs={"support-671b": model}), datetime(2026, 1, 1, tzinfo=UTC), CONFIG
    )
    check_children(name, list(plan.apply))
