"""What a server needs against the GPUs that it has."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.capacity.architecture import FLAVORS, Dtype, Weights
from finetune_operator.core.config import Config
from finetune_operator.core.outcome import Outcome
from finetune_operator.serving import Observed
from finetune_operator.serving.fits import fits_of
from finetune_operator.serving.reconcile import reconcile

Builder = Callable[..., ModelDeployment]


@pytest.mark.parametrize(
    ("dtype", "spec", "status", "message"),
    [
        pytest.param(
            "float8",
            {"tensorParallelSize": 8, "maxModelLen": 32768},
            "True",
            "Serving in float8 needs 673 GB of the 1,128 GB of 8 GPUs; "
            "Serving needs 99 GB of the 130 GB of each GPU, 0.92 of its 141 GB",
            id="FP8 at TP=8",
        ),
        pytest.param(
            "bfloat16",
            {"tensorParallelSize": 8},
            "False",
            "Serving in bfloat16 needs 1,342 GB of the 1,128 GB of 8 GPUs; "
            "no change of one field makes it fit",
            id="bfloat16 at TP=8",
        ),
        pytest.param(
            "float8",
            {"tensorParallelSize": 8, "gpuMemory": "80G", "engineArgs": ["--max-model-len=4096"]},
            "False",
            "Serving in float8 needs 673 GB of the 640 GB of 8 GPUs; no change of one field makes it fit",
            id="80 GB GPUs",
        ),
        pytest.param(
            "float8",
            {
                "tensorParallelSize": 8,
                "maxModelLen": 4096,
                "engineArgs": ["--gpu-memory-utilization", "0.8", "--max-model-len", "100000"],
            },
            "True",
            "Serving in float8 needs 673 GB of the 1,128 GB of 8 GPUs; "
            "Serving needs 103 GB of the 113 GB of each GPU, 0.8 of its 141 GB",
            id="vLLM's own arguments win",
        ),
        pytest.param(
            "float8",
            {
                "tensorParallelSize": 8,
                "engineArgs": ["--gpu-memory-utilization=0.8", "--kv-cache-dtype", "fp8"],
            },
            "True",
            "Serving in float8 needs 673 GB of the 1,128 GB of 8 GPUs; "
            "Serving needs 102 GB of the 113 GB of each GPU, 0.8 of its 141 GB",
            id="an FP8 cache takes half",
        ),
        pytest.param(
            "float8",
            {
                "tensorParallelSize": 8,
                "engineArgs": ["--speculative-config", '{"method": "mtp", "num_speculative_tokens": 1}'],
            },
            "True",
            "Serving in float8 needs 685 GB of the 1,128 GB of 8 GPUs; "
            "Serving needs 117 GB of the 130 GB of each GPU, 0.92 of its 141 GB",
            id="the multi-token layer as draft",
        ),
        pytest.param(
            "float8",
            {"tensorParallelSize": 8, "engineArgs": ["--speculative-config.method=deepseek_mtp"]},
            "True",
            "Serving in float8 needs 685 GB of the 1,128 GB of 8 GPUs; "
            "Serving needs 117 GB of the 130 GB of each GPU, 0.92 of its 141 GB",
            id="the same, by its method",
        ),
        pytest.param(
            "float8",
            {"tensorParallelSize": 4, "gpuMemory": "192G"},
            "False",
            "Serving needs 193 GB of the 177 GB of each GPU, 0.92 of its 192 GB (weights in float8: 170 GB): "
            "set pipelineParallelSize to 2, or set tensorParallelSize to 8",
            id="half a node",
        ),
        pytest.param(
            "float8",
            {"dataParallelSize": 8, "engineArgs": ["--enable-expert-parallel"]},
            "False",
            "Serving needs 136 GB of the 130 GB of each GPU, 0.92 of its 141 GB (weights in float8: 103 GB): "
            "set maxModelLen to 40960",
            id="data parallel attention, with the model's own context",
        ),
        pytest.param(
            "float8",
            {"dataParallelSize": 8, "engineArgs": ["--enable-expert-parallel", "--enforce-eager"]},
            "True",
            "Serving in float8 needs 807 GB of the 1,128 GB of 8 GPUs; "
            "Serving needs 123 GB of the 130 GB of each GPU, 0.92 of its 141 GB",
            id="the same without graphs",
        ),
        pytest.param(
            "float8",
            {"dataParallelSize": 8, "engineArgs": ["--max-num-batched-tokens=2048"], "maxModelLen": 65536},
            "True",
            "Serving in float8 needs 807 GB of the 1,128 GB of 8 GPUs; "
            "Serving needs 129 GB of the 130 GB of each GPU, 0.92 of its 141 GB",
            id="smaller batches",
        ),
        pytest.param(
            "bfloat16",
            {"tensorParallelSize": 8, "pipelineParallelSize": 2},
            "False",
            "A replica asks for 16 GPUs in one pod, and a node has 8 (gpusPerNode in the chart): "
            "set nodes to 2, or set pipelineParallelSize to 1",
            id="two nodes as one",
        ),
        pytest.param(
            "bfloat16",
            {"tensorParallelSize": 16, "nodes": 2, "maxModelLen": 32768},
            "True",
            "Serving in bfloat16 needs 1,342 GB of the 2,256 GB of 16 GPUs; "
            "Serving needs 99 GB of the 130 GB of each GPU, 0.92 of its 141 GB",
            id="bfloat16 on two nodes, at TP=16",
        ),
        pytest.param(
            "bfloat16",
            {"tensorParallelSize": 8, "pipelineParallelSize": 2, "nodes": 2, "maxModelLen": 32768},
            "True",
            "Serving in bfloat16 needs 1,342 GB of the 2,256 GB of 16 GPUs; "
            "Serving needs 102 GB of the 130 GB of each GPU, 0.92 of its 141 GB",
            id="bfloat16 on two nodes, in two stages",
        ),
        pytest.param(
            "bfloat16",
            {"tensorParallelSize": 8, "pipelineParallelSize": 4, "nodes": 2},
            "False",
            "Each of a replica's 2 nodes asks for 16 GPUs in one pod, and a node has 8 (gpusPerNode in the "
            "chart): set nodes to 4, or set pipelineParallelSize to 2",
            id="four nodes as two",
        ),
        pytest.param(
            "bfloat16",
            {"tensorParallelSize": 4, "pipelineParallelSize": 2, "nodes": 2, "maxModelLen": 32768},
            "False",
            "Serving in bfloat16 needs 1,342 GB of the 1,128 GB of 8 GPUs: "
            "set pipelineParallelSize to 4, or set tensorParallelSize to 8",
            id="half of two nodes",
        ),
        pytest.param(
            "float8",
            {"tensorParallelSize": 8, "dataParallelSize": 8},
            "False",
            "A replica asks for 64 GPUs in one pod, and a node has 8 (gpusPerNode in the chart): "
            "set nodes to 8, or set dataParallelSize to 1",
            id="eight nodes",
        ),
    ],
)
def test_fits(deployment: Builder, dtype: Dtype, spec: dict[str, Any], status: str, message: str) -> None:
    weights = Weights(model=FLAVORS["671B_lora"], dtype=dtype)
    fits = fits_of(deployment(**spec), weights, Config())
    assert (fits.status, fits.message) == (status, message)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--gpu-memory-utilization", "much"], id="no number"),
        pytest.param(["--gpu-memory-utilization=nan"], id="not a number"),
        pytest.param(["--gpu-memory-utilization"], id="no value"),
        pytest.param(["--max-model-len", "32k"], id="a length that is not read"),
    ],
)
def test_arguments_that_are_not_understood_are_left_to_vllm(
    deployment: Builder, arguments: list[str]
) -> None:
    weights = Weights(model=FLAVORS["671B_lora"], dtype="float8")
    plain = fits_of(deployment(tensorParallelSize=8), weights, Config())
    assert fits_of(deployment(tensorParallelSize=8, engineArgs=arguments), weights, Config()) == plain


@pytest.mark.parametrize(
    ("spec", "config", "status"),
    [
        pytest.param({"tensorParallelSize": 16}, Config(), "False", id="too many"),
        pytest.param({"tensorParallelSize": 8}, Config(), "Unknown", id="as many as there are"),
        pytest.param({"tensorParallelSize": 16}, Config(gpus_per_node=16), "Unknown", id="larger nodes"),
        pytest.param({"tensorParallelSize": 8}, Config(gpus_per_node=4), "False", id="smaller nodes"),
        pytest.param(
            {"tensorParallelSize": 16, "gpuResourceName": "nvidia.com/mig-1g.10gb"},
            Config(),
            "Unknown",
            id="slices",
        ),
    ],
)
def test_no_pod_asks_for_more_than_a_node_has_of_whatever_model(
    deployment: Builder, spec: dict[str, Any], config: Config, status: str
) -> None:
    fits = fits_of(deployment(**spec), None, config)
    assert fits.status == status
    assert (fits.reason == "MoreGPUsThanANode") == (status == "False")


def test_a_model_of_unknown_size_is_not_compared(deployment: Builder) -> None:
    fits = fits_of(deployment(), None, Config())
    assert (fits.status, fits.reason) == ("Unknown", "SizeUnknown")


def test_a_server_on_cpus_is_not_compared(deployment: Builder) -> None:
    weights = Weights(model=FLAVORS["tiny_lora"], dtype="bfloat16")
    fits = fits_of(deployment(device="cpu"), weights, Config())
    assert (fits.status, fits.reason) == ("Unknown", "NotCompared")


@pytest.mark.parametrize(
    ("replicas", "kinds", "stalled"),
    [
        pytest.param(1, ["Service", "PodDisruptionBudget", "NetworkPolicy"], "True", id="no pod is made"),
        pytest.param(
            0, ["Service", "PodDisruptionBudget", "NetworkPolicy", "Deployment"], "False", id="none is wanted"
        ),
    ],
)
def test_what_does_not_fit_is_not_served(
    deployment: Builder, replicas: int, kinds: list[str], stalled: str
) -> None:
    weights = Weights(model=FLAVORS["671B_lora"], dtype="bfloat16")
    model = Outcome(claim="models", model_path="runs/x", complete=True, weights=weights)
    parent = deployment(tensorParallelSize=8, replicas=replicas)

    plan = reconcile(parent, Observed(jobs={"faq": model}), datetime(2026, 1, 1, tzinfo=UTC), Config())

    assert [child["kind"] for child in plan.apply] == kinds
    conditions = {c["type"]: c for c in plan.status["conditions"]}
    assert conditions["Fits"]["status"] == "False"
    assert conditions["Stalled"]["status"] == stalled
