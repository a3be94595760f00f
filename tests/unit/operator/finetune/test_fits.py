"""What a job needs against what there is, in the words that its condition has."""

from collections.abc import Callable
from typing import Any

import pytest

from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.config import Config
from finetune_operator.finetune.fits import fits_of

JobBuilder = Callable[..., FineTuneJob]

LARGE = {"flavor": "671B_lora", "workers": {"nodes": 4, "gpusPerNode": 8}}
TRAINING = {"steps": 10, "recompute": "full", "parallelism": {"expert": 8}}
SERVED = {"tensorParallelSize": 8}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param({}, "Training needs 60 GB of the 141 GB of each GPU", id="4 x 8 H200"),
        pytest.param(
            {"deployment": {**SERVED, "maxModelLen": 32768}},
            "Training needs 60 GB of the 141 GB of each GPU; "
            "Serving in float8 needs 673 GB of the 1,128 GB of 8 GPUs; "
            "Serving needs 99 GB of the 130 GB of each GPU, 0.92 of its 141 GB",
            id="and 8 to serve it",
        ),
        pytest.param(
            {
                "training": {**TRAINING, "frozenDtype": "float8"},
                "workers": {"nodes": 1, "gpusPerNode": 8},
            },
            "Training needs 98 GB of the 141 GB of each GPU",
            id="one node and a base in FP8",
        ),
        pytest.param(
            {"storage": {"size": "1500G"}},
            "Training needs 60 GB of the 141 GB of each GPU; "
            "Storage needs 1,382 GB of the 1,500 GB of the volume",
            id="a claim to be made",
        ),
    ],
)
def test_it_fits(job: JobBuilder, spec: dict[str, Any], message: str) -> None:
    fits = fits_of(job(**{**LARGE, "training": TRAINING, **spec}), Config())
    assert (fits.status, fits.reason, fits.message) == ("True", "Fits", message)


@pytest.mark.parametrize(
    ("spec", "reason", "message"),
    [
        pytest.param(
            {"export": {"dtype": "bfloat16"}, "deployment": SERVED},
            "ServingNeedsMoreMemory",
            "Serving in bfloat16 needs 1,342 GB of the 1,128 GB of 8 GPUs: set export.dtype to float8",
            id="bfloat16 at TP=8 on 8 x H200",
        ),
        pytest.param(
            {"deployment": {**SERVED, "gpuMemory": "115G"}},
            "ServingNeedsMoreMemory",
            "Serving needs 108 GB of the 106 GB of each GPU, 0.92 of its 115 GB (weights in float8: 85 GB): "
            "set deployment.maxModelLen to 81920",
            id="no room for one long request",
        ),
        pytest.param(
            {"training": {**TRAINING, "recompute": "selective"}},
            "TrainingNeedsMoreMemory",
            "Training needs 159 GB of the 141 GB of each GPU (activations: 103 GB): "
            "set training.recompute to full, or set training.frozenDtype to float8",
            id="activations",
        ),
        pytest.param(
            {
                "training": {**TRAINING, "precision": "float32"},
                "workers": {"nodes": 4, "gpusPerNode": 8, "gpuMemory": "80G"},
            },
            "TrainingNeedsMoreMemory",
            "Training needs 116 GB of the 80 GB of each GPU (frozen base in float32: 84 GB): "
            "set training.precision to bfloat16, or set training.frozenDtype to float8",
            id="a base in float32",
        ),
        pytest.param(
            {"workers": {"nodes": 1, "gpusPerNode": 8}},
            "TrainingNeedsMoreMemory",
            "Training needs 182 GB of the 141 GB of each GPU (frozen base in bfloat16: 168 GB): "
            "set training.frozenDtype to float8, or set workers.nodes to 2",
            id="one node",
        ),
        pytest.param(
            {"workers": {"gpusPerNode": 1}, "training": {"steps": 10}},
            "TrainingNeedsMoreMemory",
            "Training needs 1,398 GB of the 141 GB of each GPU (frozen base in bfloat16: 1,342 GB): "
            "set workers.nodes to 64",
            id="one GPU",
        ),
        pytest.param(
            {"workers": {"nodes": 2, "gpusPerNode": 16}},
            "MoreGPUsThanANode",
            "Training asks for 16 GPUs in one pod, and a node has 8 (gpusPerNode in the chart): "
            "set workers.gpusPerNode to 8",
            id="more GPUs than a node",
        ),
        pytest.param(
            {"deployment": {**SERVED, "pipelineParallelSize": 2}},
            "MoreGPUsThanANode",
            "A replica asks for 16 GPUs in one pod, and a node has 8 (gpusPerNode in the chart): "
            "set deployment.nodes to 2, or set deployment.pipelineParallelSize to 1",
            id="a server over two nodes",
        ),
        pytest.param(
            {"storage": {"size": "1Ti"}},
            "StorageTooSmall",
            "Storage needs 1,382 GB of the 1,100 GB of the volume (base model in float8: 689 GB): "
            "set storage.size to 1521G",
            id="a small claim",
        ),
    ],
)
def test_it_does_not_fit(job: JobBuilder, spec: dict[str, Any], reason: str, message: str) -> None:
    fits = fits_of(job(**{**LARGE, "training": TRAINING, **spec}), Config())
    assert (fits.status, fits.reason, fits.message) == ("False", reason, message)


def test_the_operator_says_how_large_gpus_are_where_the_job_does_not(job: JobBuilder) -> None:
    small = Config(gpu_memory="40G")
    assert fits_of(job(**LARGE, training=TRAINING), small).status == "False"
    workers = {**LARGE["workers"], "gpuMemory": "80G"}
    assert fits_of(job(**{**LARGE, "workers": workers}, training=TRAINING), small).status == "True"


def test_host_memory_is_told_and_not_compared(job: JobBuilder) -> None:
    fits = fits_of(job(), Config())
    assert (fits.status, fits.reason) == ("Unknown", "NotCompared")
    assert fits.message == (
        "Training needs 0.2 GB of host memory of each process; "
        "Conversion needs 1.5 GB of host memory of each process; "
        "Storage needs 56 MB of the volume, and how much there is is not known"
    )


def test_a_change_that_breaks_a_rule_is_not_proposed(job: JobBuilder) -> None:
    """Twice the nodes would need another globalBatchSize."""
    workers = {"nodes": 1, "gpusPerNode": 8, "gpuMemory": "60G"}
    training = {**TRAINING, "globalBatchSize": 8}
    fits = fits_of(job(**{**LARGE, "workers": workers}, training=training), Config())
    assert fits.message.endswith("; no change of one field makes it fit")
