"""Fits of a job that names no flavour: by the base's name, by what prepare told, or not yet."""

import dataclasses
import json
from typing import Any

import pytest
from fake_cluster import FakeCluster, JobBuilder, names

from finetune_operator.core.capacity.architecture import DEEPSEEK_V3, FLAVORS, Architecture, Weights
from finetune_operator.core.capacity.base_model import base_architecture, read_architecture
from finetune_operator.core.config import Config
from finetune_operator.core.outcome import outcome_of
from finetune_operator.finetune.fits import fits_of

ONE_GPU: dict[str, Any] = {"flavor": "auto", "workers": {"gpusPerNode": 1}}


def told(architecture: Architecture) -> str:
    return json.dumps({"architecture": dataclasses.asdict(architecture)})


def fits(cluster: FakeCluster) -> tuple[str, str]:
    status = cluster.job.to_dict()["status"]
    (condition,) = (c for c in status["conditions"] if c["type"] == "Fits")
    return condition["status"], condition["reason"]


@pytest.mark.parametrize(
    ("uri", "status", "message"),
    [
        pytest.param(
            "hf://zai-org/GLM-4.7-Flash",
            "True",
            "Training needs 77 GB of the 141 GB of each GPU",
            id="GLM-4.7-Flash on one H200",
        ),
        pytest.param(
            "hf://moonshotai/Moonlight-16B-A3B-Instruct",
            "True",
            "Training needs 43 GB of the 141 GB of each GPU",
            id="Moonlight on one H200",
        ),
        pytest.param(
            "hf://acme/our-own",
            "Unknown",
            "How large hf://acme/our-own is, is not known before prepare reads its config.json: what is "
            "needed is compared then, before training starts",
            id="a repository that nobody knows",
        ),
    ],
)
def test_fits_by_the_name_of_the_base(job: JobBuilder, uri: str, status: str, message: str) -> None:
    condition = fits_of(job(**ONE_GPU, model={"uri": uri}), Config())
    assert (condition.status, condition.message) == (status, message)
    assert status == "True" or condition.reason == "SizeUnknown"


def test_gpus_are_counted_of_a_base_that_nobody_knows(job: JobBuilder) -> None:
    condition = fits_of(job(flavor="auto", workers={"gpusPerNode": 16}), Config())
    assert (condition.status, condition.reason) == ("False", "MoreGPUsThanANode")


def test_what_prepare_told_is_compared_before_training_starts(job: JobBuilder) -> None:
    cluster = FakeCluster(job(**ONE_GPU))
    cluster.reconcile()
    assert fits(cluster) == ("Unknown", "SizeUnknown")
    cluster.end(0, told=told(DEEPSEEK_V3))
    plan = cluster.reconcile()
    assert names(plan) == []
    assert fits(cluster) == ("False", "TrainingNeedsMoreMemory")
    assert (plan.status["phase"], plan.status["stage"]) == ("Failed", "train")
    cluster.update(workers={"gpusPerNode": 1, "gpuMemory": "2T"})
    assert [name.rpartition("-")[0].rpartition("-")[2] for name in names(cluster.reconcile())] == ["train"]


def test_training_starts_where_it_fits_and_is_not_stopped_by_arithmetic(job: JobBuilder) -> None:
    cluster = FakeCluster(job(**ONE_GPU))
    cluster.reconcile()
    cluster.end(0, told=told(FLAVORS["tiny_lora"]))
    assert len(names(cluster.reconcile())) == 1
    assert fits(cluster) == ("True", "Fits")
    cluster.update(workers={"gpusPerNode": 1, "gpuMemory": "1G"})
    plan = cluster.reconcile()
    assert (fits(cluster)[0], plan.delete, plan.status["stage"]) == ("False", (), "train")


def test_a_job_is_not_made_before_the_pod_is_seen_that_tells(job: JobBuilder) -> None:
    cluster = FakeCluster(job(**ONE_GPU))
    cluster.reconcile()
    prepare = cluster.active
    assert prepare is not None
    cluster.end(0, seen=False)
    plan = cluster.reconcile()
    assert (names(plan), plan.requeue_after) == ([], 1.0)
    prepare["pods"] = []
    assert len(names(cluster.reconcile())) == 1


def test_a_trainer_that_tells_nothing_is_gone_on_with(job: JobBuilder) -> None:
    cluster = FakeCluster(job(**ONE_GPU))
    cluster.reconcile()
    cluster.end(0)
    assert len(names(cluster.reconcile())) == 1
    assert fits(cluster) == ("Unknown", "SizeUnknown")


def test_what_was_read_goes_before_what_a_name_promises(job: JobBuilder) -> None:
    spec = job(flavor="auto", model={"uri": "hf://deepseek-ai/DeepSeek-R1"}).spec
    assert base_architecture(spec) == DEEPSEEK_V3
    assert base_architecture(spec, FLAVORS["tiny_lora"]) == FLAVORS["tiny_lora"]


def test_a_server_of_the_model_is_told_the_files_dtype_and_multi_token_layer(job: JobBuilder) -> None:
    """A flavour's name says neither: its base may be in FP8, with a layer that can draft."""
    cluster = FakeCluster(job(flavor="deepseek_aghilora"))
    cluster.reconcile()
    base = dataclasses.replace(FLAVORS["deepseek_aghilora"], dtype="float8", num_nextn_predict_layers=1)
    assert weights_of(cluster) == Weights(model=FLAVORS["deepseek_aghilora"], dtype="bfloat16")
    cluster.end(0, told=told(base))
    cluster.reconcile()
    assert weights_of(cluster) == Weights(model=base, dtype="float8")


def test_it_is_known_when_the_pods_that_told_it_are_gone(job: JobBuilder) -> None:
    cluster = FakeCluster(job(**ONE_GPU))
    prepare = prepared(cluster, DEEPSEEK_V3)
    prepare["pods"] = []
    assert cluster.reconcile().status["base"]["hiddenSize"] == DEEPSEEK_V3.hidden_size
    assert fits(cluster)[0] == "False"


@pytest.mark.parametrize("number", [-1, 2**63, True, "7168", None])
def test_what_no_status_could_hold_is_not_taken(number: object) -> None:
    numbers = {**dataclasses.asdict(DEEPSEEK_V3), "hidden_size": number}
    assert read_architecture(json.dumps({"architecture": numbers})) is None


def weights_of(cluster: FakeCluster) -> Weights | None:
    return outcome_of(cluster.job.to_dict()).weights


def prepared(cluster: FakeCluster, base: Architecture) -> Any:
    cluster.reconcile()
    prepare = cluster.active
    assert prepare is not None
    cluster.end(0, told=told(base))
    cluster.reconcile()
    return prepare


def test_a_server_is_told_the_greatest_rank_of_an_adapter_with_patterns(job: JobBuilder) -> None:
    patterns = {"rank": 8, "targets": ["attention"], "rankPattern": {"q_b_proj": 32}}
    assert outcome_of(job(lora=patterns).to_dict()).rank == 32
