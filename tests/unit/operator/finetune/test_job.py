"""The Job of a stage, beyond the golden files."""

from typing import Any

import pytest
from fake_cluster import JobBuilder

from finetune_operator.core.config import Config
from finetune_operator.core.objects import Manifest
from finetune_operator.finetune.children.job import Attempt, desired_job
from finetune_operator.finetune.children.names import names_of
from finetune_operator.finetune.stages import Stage


def pod_of(parent: Any, stage: Stage, config: Config | None = None) -> Manifest:
    made = desired_job(
        parent, names_of(parent, "3f2a9c1b"), Attempt(stage=stage, number=0), config or Config()
    )
    pod: Manifest = made["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize(
    ("workers", "config", "parted"),
    [
        pytest.param({"nodes": 1, "gpusPerNode": 4}, Config(), False, id="one pod"),
        pytest.param({"nodes": 2, "gpusPerNode": 4}, Config(), True, id="half nodes"),
        pytest.param({"nodes": 2, "gpusPerNode": 8}, Config(), False, id="whole nodes"),
        pytest.param({"nodes": 2, "gpusPerNode": 8}, Config(gpus_per_node=16), True, id="larger nodes"),
        pytest.param({"nodes": 2, "gpusPerNode": 0}, Config(), True, id="CPUs"),
        pytest.param(
            {"nodes": 2, "gpusPerNode": 8, "gpuResourceName": "nvidia.com/mig-1g.10gb"},
            Config(),
            True,
            id="slices",
        ),
    ],
)
def test_pods_are_parted_by_hostname_where_two_would_fit_a_node(
    job: JobBuilder, workers: dict[str, Any], config: Config, parted: bool
) -> None:
    pod = pod_of(job(workers=workers), Stage.TRAIN, config)
    assert ("affinity" in pod) == parted
