"""The children of whole manifests, byte for byte: a node in FP8, two in bfloat16, a trial, an autoscaler."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import observing
import pytest

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.capacity.architecture import FLAVORS, Weights
from finetune_operator.core.config import Config, Images
from finetune_operator.core.objects import Manifest
from finetune_operator.core.observed.deployment import ObservedDeployment
from finetune_operator.core.outcome import Outcome
from finetune_operator.serving import Observed
from finetune_operator.serving.reconcile import reconcile

CONFIG = Config(
    images=Images(server="server:test"),
    has_leader_worker_sets=True,
    has_http_routes=True,
    has_scaled_objects=True,
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
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
    plan = reconcile(deployment, Observed(jobs={"support-671b": model}), NOW, CONFIG)
    check_children(name, list(plan.apply))


ROLLED_OUT = {
    "conditions": [{"type": "Progressing", "reason": "NewReplicaSetAvailable", "lastTransitionTime": ""}],
    "observedGeneration": 1,
    "replicas": 1,
    "updatedReplicas": 1,
    "readyReplicas": 1,
}


def test_children_of_a_canary(
    golden_manifest: Callable[[str], Manifest], check_children: Callable[[str, list[Manifest]], None]
) -> None:
    deployment = ModelDeployment.model_validate(golden_manifest("serve-canary"))
    before = Outcome(claim="faq", model_path="runs/ml/faq/1/merged", complete=True)
    after = replace(before, model_path="runs/ml/faq/2/merged")
    served = reconcile(deployment, Observed(jobs={"faq": before}), NOW, CONFIG).apply
    (server,) = (child for child in served if child["kind"] == "Deployment")
    seen = observing.children([{**server, "status": ROLLED_OUT}])
    (stable,) = (child for child in seen.values() if isinstance(child, ObservedDeployment))
    tried = reconcile(deployment, Observed(jobs={"faq": after}, deployment=stable), NOW, CONFIG)
    check_children("serve-canary", [child for child in tried.apply if _is_of_canary(child)])


def _is_of_canary(child: Manifest) -> bool:
    return child["kind"] == "HTTPRoute" or child["metadata"]["name"] == "faq-canary"


def test_what_scales_to_none(
    golden_manifest: Callable[[str], Manifest], check_children: Callable[[str, list[Manifest]], None]
) -> None:
    deployment = ModelDeployment.model_validate(golden_manifest("serve-scaled"))
    model = Outcome(claim="faq", model_path="runs/ml/faq/1/merged", complete=True)
    plan = reconcile(deployment, Observed(jobs={"faq": model}), NOW, CONFIG)
    check_children("serve-scaled", [child for child in plan.apply if child["kind"] == "ScaledObject"])
