"""What a user is told of a wrong field: its path, what is wrong, what to do."""

from collections.abc import Callable
from typing import Any

import pytest

from finetune_operator.api.field_errors import field_errors
from finetune_operator.api.job import FineTuneJob

Build = Callable[..., dict[str, Any]]


def steps(**training: Any) -> dict[str, Any]:
    return {"training": {"steps": 10, **training}}


def parallel(nodes: int, gpus: int, **degrees: int) -> dict[str, Any]:
    return {"workers": {"nodes": nodes, "gpusPerNode": gpus}, **steps(parallelism=degrees)}


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({}, id="smallest"),
        pytest.param({"training": {"epochs": 1}}, id="whole-epochs"),
        pytest.param({"training": {"epochs": 0.5}}, id="part-of-an-epoch"),
        pytest.param(steps(warmupSteps=None), id="null-is-not-written"),
        pytest.param(steps(overrides={"compile.enable": True, "comm.trace_buf_size": None}), id="overrides"),
        pytest.param(parallel(4, 8, expert=8), id="expert-from-data"),
        pytest.param(parallel(1, 8, tensor=8, expert=8), id="expert-from-tensor"),
        pytest.param(parallel(4, 8, data=2, tensor=2, pipeline=2, context=4), id="all-degrees"),
        pytest.param({"storage": {"size": "500Gi", "accessModes": ["ReadWriteOnce"]}}, id="claim-to-be-made"),
        pytest.param({"model": {"uri": "hf://a/b", "revision": "main"}}, id="hub"),
        pytest.param({"model": {"uri": "s3://bucket/a/b"}}, id="bucket"),
        pytest.param({"lora": {"targets": ["attention", "experts", "wo"]}}, id="targets"),
        pytest.param({"workers": {"device": "cpu", "processesPerNode": 2}}, id="processes-on-a-cpu"),
        pytest.param({"deployment": {"replicas": 2}}, id="inline-deployment"),
    ],
)
def test_accepts(job: Build, spec: dict[str, Any]) -> None:
    assert field_errors(FineTuneJob, job(**spec)) == []


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        pytest.param(
            {"flavor": "70B_lora"},
            [
                "spec.flavor: is '70B_lora'; use one of"
                " 'auto', 'tiny_lora', 'deepseek_aghilora', '16B_lora' or '671B_lora'"
            ],
            id="unknown-flavor",
        ),
        pytest.param({"model": None}, ["spec.model: is required; add it"], id="missing"),
        pytest.param(
            {"workers": {"gpuPerNode": 8}},
            ["spec.workers.gpuPerNode: is no field here; did you mean gpusPerNode?"],
            id="near-miss",
        ),
        pytest.param(
            {"export": {"zzz": 8}},
            [
                "spec.export.zzz: is no field here; remove it; "
                "there are dtype, shards, verify, adapterOnly, push, signing"
            ],
            id="unknown-field",
        ),
        pytest.param(
            {"training": {"steps": "10"}},
            ["spec.training.steps: is '10'; make it a whole number"],
            id="number-in-quotes",
        ),
        pytest.param(
            steps(maxGradNorm=float("inf")),
            ["spec.training.maxGradNorm: is inf; make it a finite number"],
            id="infinite",
        ),
        pytest.param({"lora": {"rank": 0}}, ["spec.lora.rank: is 0; make it 1 or more"], id="too-small"),
        pytest.param(
            {"dataset": {"uri": "d", "validationShare": 0.6}},
            ["spec.dataset.validationShare: is 0.6; make it 0.5 or less"],
            id="too-large",
        ),
        pytest.param(
            {"dataset": {"uri": "d", "format": "parquet"}},
            [
                "spec.dataset.format: is 'parquet'; use one of 'auto', 'chat', 'sharegpt', 'alpaca',"
                " 'prompt-completion', 'preference' or 'text'"
            ],
            id="format",
        ),
        pytest.param(
            {"dataset": {"uri": "d", "format": "text", "train": "last"}},
            [
                "spec.dataset.format: text has no turns: all of it is learned; "
                "remove train and thoughts, or correct format"
            ],
            id="turns-of-text",
        ),
        pytest.param(
            {"model": {"uri": "../tiny"}},
            [
                "spec.model.uri: is '../tiny'; use hf://ORG/NAME, s3://BUCKET/PREFIX,"
                " oci://HOST/REPOSITORY:TAG, or a path relative to the volume's root"
            ],
            id="path-out-of-the-volume",
        ),
        pytest.param(
            {"workers": {"podOverrides": {"resources": {"limits": {"cpu": 0.5}}}}},
            [
                "spec.workers.podOverrides.resources.limits.cpu: is 0.5;"
                " make it a whole number, or put it in quotes"
            ],
            id="quantity-that-is-a-float",
        ),
        pytest.param(
            {"storage": {"size": "1 Gi"}},
            ["spec.storage.size: is '1 Gi'; use a Kubernetes quantity such as 500Gi, 4 or 250m"],
            id="quantity-with-a-space",
        ),
        pytest.param(
            {"lora": {"targets": ["wo", "wo"]}},
            ["spec.lora.targets: wo is there twice; correct targets"],
            id="twice",
        ),
        pytest.param(
            steps(overrides={"training.seq_len": 1}),
            [
                "spec.training.overrides.training.seq_len: is decided by spec.training.sequenceLength;"
                " set that field instead"
            ],
            id="override-of-a-field-of-ours",
        ),
        pytest.param(
            steps(overrides={"compile": 1}),
            [
                "spec.training.overrides.compile: is no dotted path;"
                " write it as torchtitan does, such as compile.enable"
            ],
            id="override-without-a-dot",
        ),
        pytest.param(
            {"flavor": "x", "lora": {"rank": 0}, "export": {"shards": 0}},
            [
                "spec.flavor: is 'x'; use one of"
                " 'auto', 'tiny_lora', 'deepseek_aghilora', '16B_lora' or '671B_lora'",
                "spec.lora.rank: is 0; make it 1 or more",
                "spec.export.shards: is 0; make it 1 or more",
            ],
            id="every-wrong-field",
        ),
    ],
)
def test_names_wrong_fields(job: Build, spec: dict[str, Any], errors: list[str]) -> None:
    assert [str(error) for error in field_errors(FineTuneJob, job(**spec))] == errors


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        pytest.param({"training": {}}, ["spec.training"], id="neither-steps-nor-epochs"),
        pytest.param(steps(epochs=1.0), ["spec.training"], id="steps-and-epochs"),
        pytest.param(steps(warmupSteps=10), ["spec.training.warmupSteps"], id="warm-up-as-long-as-training"),
        pytest.param(
            steps(frozenArithmetic="float8"),
            ["spec.training.frozenArithmetic"],
            id="FP8-products-with-no-FP8-base",
        ),
        pytest.param(
            {"workers": {"gpusPerNode": 3}, **steps(sequenceLength=4096, parallelism={"tensor": 3})},
            ["spec.training.sequenceLength"],
            id="sequence-over-tensor",
        ),
        pytest.param(
            {"workers": {"gpusPerNode": 4}, **steps(sequenceLength=4100, parallelism={"context": 4})},
            ["spec.training.sequenceLength"],
            id="sequence-over-context",
        ),
        pytest.param(parallel(1, 6, tensor=4), ["spec.training.parallelism"], id="degrees-over-processes"),
        pytest.param(parallel(1, 8, data=4), ["spec.training.parallelism.data"], id="data-is-not-the-rest"),
        pytest.param(parallel(2, 8, replicate=3), ["spec.training.parallelism"], id="copies-over-processes"),
        pytest.param(
            parallel(2, 8, replicate=2, data=16),
            ["spec.training.parallelism.data"],
            id="data-counts-no-copies",
        ),
        pytest.param(
            parallel(2, 8, replicate=2, expert=16),
            ["spec.training.parallelism.expert"],
            id="expert-over-copies",
        ),
        pytest.param(
            parallel(1, 8, pipeline=2, expert=8),
            ["spec.training.parallelism.expert"],
            id="expert-over-the-pipeline",
        ),
        pytest.param(
            {"workers": {"gpusPerNode": 4}, **steps(microBatchSize=2, globalBatchSize=12)},
            ["spec.training.globalBatchSize"],
            id="global-batch",
        ),
        pytest.param(
            {"workers": {"gpusPerNode": 1, "processesPerNode": 2}},
            ["spec.workers.processesPerNode"],
            id="processes-over-gpus",
        ),
        pytest.param(
            {"workers": {"processesPerNode": 2}},
            ["spec.workers.processesPerNode"],
            id="processes-over-one-gpu",
        ),
        pytest.param(
            {"workers": {"device": "cpu", "gpusPerNode": 1, "gpuMemory": "80G"}},
            ["spec.workers.gpusPerNode", "spec.workers.gpuMemory"],
            id="gpus-of-a-cpu",
        ),
        pytest.param(
            {"model": {"uri": "oci://acme.com/base:1"}}, ["spec.model.uri"], id="base-in-a-registry"
        ),
        pytest.param(
            {"dataset": {"uri": "oci://acme.com/faq:1"}}, ["spec.dataset.uri"], id="data-in-a-registry"
        ),
        pytest.param(
            {
                "workers": {
                    "podOverrides": {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "500m"}}}
                }
            },
            ["spec.workers.podOverrides.resources.requests"],
            id="request-over-limit",
        ),
        pytest.param({"storage": {}}, ["spec.storage"], id="neither-claim-nor-size"),
        pytest.param({"storage": {"claimName": "a", "size": "1Gi"}}, ["spec.storage"], id="claim-and-size"),
        pytest.param(
            {"storage": {"claimName": "a", "storageClassName": "b", "accessModes": ["ReadWriteMany"]}},
            ["spec.storage.storageClassName", "spec.storage.accessModes"],
            id="class-and-modes-of-a-claim",
        ),
        pytest.param(
            {"storage": {"size": "1Gi", "accessModes": ["ReadWriteMany", "ReadWriteOncePod"]}},
            ["spec.storage.accessModes"],
            id="one-pod-and-many-nodes",
        ),
        pytest.param(
            {"workers": {"nodes": 2}, "storage": {"size": "1Gi", "accessModes": ["ReadWriteOnce"]}},
            ["spec.storage.accessModes"],
            id="nodes-over-one-node-claim",
        ),
        pytest.param(
            {"model": {"uri": "m", "revision": "a", "tokenSecretRef": {"name": "a", "key": "b"}}},
            ["spec.model.revision", "spec.model.tokenSecretRef"],
            id="hub-fields-of-a-path",
        ),
        pytest.param({"lora": {"targets": ["gate"]}}, ["spec.lora.targets"], id="router"),
        pytest.param(
            {"export": {"adapterOnly": True}, "deployment": {}}, ["spec.deployment"], id="nothing-to-serve"
        ),
        pytest.param(
            {"export": {"verify": False, "signing": {"keySecretRef": {"name": "s", "key": "k"}}}},
            ["spec.export.signing"],
            id="signed without the gate",
        ),
        pytest.param(
            {"export": {"adapterOnly": True, "signing": {"keySecretRef": {"name": "s", "key": "k"}}}},
            ["spec.export.signing"],
            id="nothing to sign",
        ),
        pytest.param(
            {"export": {"push": {"uri": "s3://acme/faq", "format": "modelpack"}}},
            ["spec.export.push.format"],
            id="an artifact in a bucket",
        ),
        pytest.param(
            {"export": {"adapterOnly": True, "push": {"uri": "hf://acme/faq"}}},
            ["spec.export.push"],
            id="nothing-to-push",
        ),
        pytest.param(
            {"export": {"push": {"uri": "models/faq"}}}, ["spec.export.push.uri"], id="pushed-into-the-volume"
        ),
        pytest.param(
            {"deployment": {"gpus": 3, "tensorParallelSize": 2}}, ["spec.deployment.gpus"], id="gpus"
        ),
    ],
)
def test_blames_the_field_of_a_broken_rule(job: Build, spec: dict[str, Any], fields: list[str]) -> None:
    errors = field_errors(FineTuneJob, job(**spec))
    assert [str(error).split(":")[0] for error in errors] == fields
