"""When training is told that its pods reach each other by RDMA, and TCP is a failure."""

from collections.abc import Callable
from typing import Any

import pytest

from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.config import Config
from finetune_operator.core.run import run_of
from finetune_operator.finetune.children.job import Attempt, desired_job
from finetune_operator.finetune.children.names import names_of
from finetune_operator.finetune.stages import Stage

TWO = {"nodes": 2, "gpusPerNode": 8}


def limits(**amounts: Any) -> dict[str, Any]:
    return {"podOverrides": {"resources": {"limits": amounts}}}


@pytest.mark.parametrize(
    ("workers", "told"),
    [
        pytest.param(TWO, None, id="no device"),
        pytest.param({**TWO, "rdmaResourceName": "rdma/hca"}, "rdma/hca", id="by its field"),
        pytest.param({**TWO, "rdmaResourceName": "acme.com/nic"}, "acme.com/nic", id="of any name"),
        pytest.param(TWO | limits(**{"vpc.amazonaws.com/efa": 32}), "vpc.amazonaws.com/efa", id="efa"),
        pytest.param(TWO | limits(**{"nvidia.com/mlnxnics": 8}), "nvidia.com/mlnxnics", id="azure"),
        pytest.param(TWO | limits(**{"nvidia.com/sriov_rdma": 8}), "nvidia.com/sriov_rdma", id="sr-iov"),
        pytest.param(TWO | limits(**{"rdma/ib": 1, "memory": "8Gi"}), "rdma/ib", id="coreweave"),
        pytest.param(
            {**TWO, "rdmaResourceName": "rdma/hca"} | limits(**{"rdma/hca": 8}), "rdma/hca", id="both say so"
        ),
        pytest.param(TWO | limits(**{"hugepages-2Mi": "5Gi", "memory": "8Gi"}), None, id="huge pages alone"),
        pytest.param({"gpusPerNode": 8, "rdmaResourceName": "rdma/hca"}, None, id="one node"),
    ],
)
def test_training_is_told(job: Callable[..., FineTuneJob], workers: dict[str, Any], told: str | None) -> None:
    parent = job(workers=workers)
    names = names_of(parent, run_of(parent.spec))
    for stage in Stage:
        made = desired_job(parent, names, Attempt(stage=stage, number=0), Config())
        (container,) = made["spec"]["template"]["spec"]["containers"]
        env = {each["name"]: each.get("value") for each in container["env"]}
        assert env.get("FINETUNE_RDMA") == (told if stage is Stage.TRAIN else None)
