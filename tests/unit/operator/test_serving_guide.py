"""docs/guides/serving.md shows specs that the API takes, and what an autoscaler of one's own scales."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_operator.api.deployment import ModelDeployment

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs/guides/serving.md").read_text(encoding="utf-8")
BLOCKS: list[dict[str, Any]] = [
    yaml.safe_load(each) for each in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
]
SPECS = [block["spec"] for block in BLOCKS if block.get("kind", "ModelDeployment") == "ModelDeployment"]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: "-".join(spec))
def test_the_api_takes_it(spec: dict[str, Any]) -> None:
    spec = {"model": {"fineTuneJobRef": {"name": "support"}}, **spec}
    ModelDeployment.model_validate(
        {
            "apiVersion": "finetune.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": "support", "namespace": "default"},
            "spec": spec,
        }
    )


def test_an_autoscaler_of_ones_own_finds_what_it_scales() -> None:
    (shown,) = re.findall(r"`scaleTargetRef: ({.*?})`", GUIDE)
    target = yaml.safe_load(shown)
    crd = yaml.safe_load((ROOT / "crds/modeldeployments.finetune.dev.yaml").read_text(encoding="utf-8"))
    versions = {f"{crd['spec']['group']}/{v['name']}": v for v in crd["spec"]["versions"]}
    assert target["kind"] == crd["spec"]["names"]["kind"]
    scale = versions[target["apiVersion"]]["subresources"]["scale"]
    assert scale["labelSelectorPath"] == ".status.selector"
