"""Manifests that users of such systems have reported trouble with, each with what is right."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.api.field_errors import field_errors
from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.config import Config
from finetune_operator.core.naming import MAX_NAME
from finetune_operator.core.objects import Manifest
from finetune_operator.finetune import Observed as ObservedOfJob
from finetune_operator.finetune.fits import fits_of as fits_of_job
from finetune_operator.finetune.reconcile import reconcile as reconcile_job
from finetune_operator.serving import Observed
from finetune_operator.serving.fits import fits_of
from finetune_operator.serving.reconcile import reconcile

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LARGE: Manifest = {
    "model": {"uri": "hf://deepseek-ai/DeepSeek-V3"},
    "flavor": "671B_lora",
    "dataset": {"uri": "hf://acme/c"},
    "training": {
        "epochs": 2,
        "sequenceLength": 4096,
        "globalBatchSize": 64,
        "recompute": "full",
        "parallelism": {"expert": 8},
    },
    "workers": {"nodes": 4, "gpusPerNode": 8},
    "storage": {"claimName": "models"},
}
EXPERTS = "--enable-expert-parallel"


def job(name: str = "support", **spec: Any) -> Manifest:
    return _object("FineTuneJob", name, {**LARGE, **spec})


def server(name: str = "chat", **spec: Any) -> Manifest:
    of_folder = {"model": {"uri": "models/x"}, "storage": {"claimName": "models"}, "tensorParallelSize": 8}
    return _object("ModelDeployment", name, {**of_folder, **spec})


def _object(kind: str, name: str, spec: Manifest) -> Manifest:
    metadata = {"name": name, "namespace": "ml", "uid": "u"}
    return {"apiVersion": "finetune.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def children(manifest: Manifest) -> Iterator[Manifest]:
    if manifest["kind"] == "FineTuneJob":
        yield from reconcile_job(FineTuneJob.model_validate(manifest), ObservedOfJob(), NOW, Config()).apply
    else:
        yield from reconcile(ModelDeployment.model_validate(manifest), Observed(), NOW, Config()).apply


@pytest.mark.parametrize("manifest", [job("671b-lora"), job("7b.v2"), server("7b-chat"), server("x" * 253)])
def test_names_are_taken_by_every_supported_kubernetes(manifest: Manifest) -> None:
    names = [child["metadata"]["name"] for child in children(manifest)]
    assert names
    for name in names:
        assert name[0].isalpha()
        assert "." not in name
        assert len(name) <= MAX_NAME


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        pytest.param(server(engineArgs=["--port", "8080"]), "port 8000 of the Service", id="port"),
        pytest.param(
            server(engineArgs=["--served-model-name", "gpt-4o", "chat"]), "set servedModelName", id="names"
        ),
        pytest.param(
            server(engineArgs=["--ssl-keyfile", "/volume/k.pem", "--ssl-certfile", "/volume/c.pem"]),
            "an Ingress or a Gateway",
            id="TLS",
        ),
        pytest.param(server(engineArgs=["--api-key", "sk-secret"]), "set apiKeySecretRef", id="key"),
        pytest.param(
            server(engineArgs=["--tensor-parallel-size", "1", "--data-parallel-size", "8", EXPERTS]),
            "set dataParallelSize",
            id="data parallel beside TP=8",
        ),
        pytest.param(
            server(gpus=8, tensorParallelSize=1, engineArgs=["--data-parallel-size", "8", EXPERTS]),
            "set dataParallelSize",
            id="data parallel on eight GPUs",
        ),
        pytest.param(
            job(deployment={"tensorParallelSize": 8, "engineArgs": ["-dp", "8"]}),
            "set dataParallelSize",
            id="data parallel of a job",
        ),
        pytest.param(
            server(pipelineParallelSize=2, engineArgs=["--nnodes", "2", "--node-rank", "0"]),
            "nodes is how many pods a replica has",
            id="two nodes",
        ),
        pytest.param(
            server(engineArgs=["--tool-parser-plugin", "/volume/models/x/evil.py"]),
            "Python code",
            id="plugin",
        ),
        pytest.param(
            server(engineArgs=["--enable-auto-tool-choice", "--middleware", "evil.M"]),
            "Python code",
            id="middleware",
        ),
        pytest.param(server(engineArgs=["--trust"]), "set trustRemoteCode", id="trust"),
        pytest.param(
            job(deployment={"tensorParallelSize": 8}, ttlSecondsAfterFinished=3600),
            "a ModelDeployment of its own",
            id="a ttl that takes the endpoint",
        ),
        pytest.param(
            job(storage={"size": "200Gi"}, ttlSecondsAfterFinished=3600),
            "set storage.claimName",
            id="a ttl that takes the model",
        ),
    ],
)
def test_is_refused_with_what_to_do(manifest: Manifest, said: str) -> None:
    kinds = {"FineTuneJob": FineTuneJob, "ModelDeployment": ModelDeployment}
    assert any(said in str(error) for error in field_errors(kinds[manifest["kind"]], manifest))


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param(server(pipelineParallelSize=2), id="two nodes"),
        pytest.param(server(dataParallelSize=8), id="eight copies of eight GPUs"),
        pytest.param(job(deployment={"tensorParallelSize": 8, "pipelineParallelSize": 2}), id="of a job"),
    ],
)
def test_no_pod_asks_for_more_gpus_than_a_node_has(manifest: Manifest) -> None:
    if manifest["kind"] == "FineTuneJob":
        fits = fits_of_job(FineTuneJob.model_validate(manifest), Config())
    else:
        fits = fits_of(ModelDeployment.model_validate(manifest), None, Config())
    assert (fits.status, fits.reason) == ("False", "MoreGPUsThanANode")


def test_a_copy_a_gpu_is_served_by_the_field() -> None:
    manifest = server(tensorParallelSize=1, dataParallelSize=8, engineArgs=[EXPERTS])
    deployment = ModelDeployment.model_validate(manifest)
    assert deployment.spec.gpus_per_replica == 8
    assert fits_of(deployment, None, Config()).status == "Unknown"
