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
        pytest.param({"nodes": 2, "device": "cpu"}, Config(), True, id="CPUs"),
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


LARGE = {"flavor": "671B_lora", "workers": {"nodes": 4, "gpusPerNode": 8}, "export": {"shards": 8}}
RESOURCES = {"requests": {"memory": "900Gi"}, "limits": {"cpu": "32", "memory": "1Ti", "acme.com/nic": 4}}
SCRATCH = {"ephemeral-storage": "2048Mi"}


@pytest.mark.parametrize(
    ("spec", "stage", "requests"),
    [
        pytest.param(LARGE, Stage.PREPARE, {"cpu": "1", "memory": "2048Mi", **SCRATCH}, id="prepare"),
        pytest.param(LARGE, Stage.TRAIN, {"cpu": "16", "memory": "49152Mi", **SCRATCH}, id="train on GPUs"),
        pytest.param(
            {"workers": {"device": "cpu", "processesPerNode": 2}},
            Stage.TRAIN,
            {"cpu": "2", "memory": "2497Mi", **SCRATCH},
            id="train on CPUs",
        ),
        pytest.param(LARGE, Stage.MERGE_SHARDS, {"cpu": "1", "memory": "1431Mi", **SCRATCH}, id="a shard"),
        pytest.param(LARGE, Stage.VERIFY, {"cpu": "1", "memory": "1431Mi", **SCRATCH}, id="verify"),
        pytest.param(
            {**LARGE, "workers": {**LARGE["workers"], "podOverrides": {"resources": RESOURCES}}},  # type: ignore[dict-item]
            Stage.TRAIN,
            {**SCRATCH, "memory": "900Gi"},
            id="the users win",
        ),
        pytest.param(
            {**LARGE, "workers": {**LARGE["workers"], "podOverrides": {"resources": RESOURCES}}},  # type: ignore[dict-item]
            Stage.MERGE,
            {"cpu": "1", "memory": "1431Mi", **SCRATCH},
            id="the users are of training",
        ),
    ],
)
def test_every_stage_requests_what_it_needs(
    job: JobBuilder, spec: dict[str, Any], stage: Stage, requests: dict[str, str]
) -> None:
    (container,) = pod_of(job(**spec), stage)["containers"]
    assert container["resources"]["requests"] == requests


MODEL_TOKEN, DATA_TOKEN = {"name": "hub", "key": "model"}, {"name": "hub", "key": "data"}


@pytest.mark.parametrize(
    ("of_model", "of_dataset", "tokens"),
    [
        pytest.param(None, None, {}, id="none"),
        pytest.param(MODEL_TOKEN, None, {"HF_TOKEN": MODEL_TOKEN}, id="the model's opens both"),
        pytest.param(None, DATA_TOKEN, {"HF_TOKEN": DATA_TOKEN}, id="the dataset's opens both"),
        pytest.param(MODEL_TOKEN, MODEL_TOKEN, {"HF_TOKEN": MODEL_TOKEN}, id="one for both"),
        pytest.param(
            MODEL_TOKEN,
            DATA_TOKEN,
            {"HF_TOKEN": MODEL_TOKEN, "HF_DATASET_TOKEN": DATA_TOKEN},
            id="one each",
        ),
    ],
)
def test_each_source_has_its_token(
    job: JobBuilder,
    of_model: dict[str, str] | None,
    of_dataset: dict[str, str] | None,
    tokens: dict[str, dict[str, str]],
) -> None:
    model = {
        "uri": "hf://acme/tiny",
        "revision": "c0ffee",
        **({"tokenSecretRef": of_model} if of_model else {}),
    }
    dataset = {"uri": "hf://acme/faq", **({"tokenSecretRef": of_dataset} if of_dataset else {})}
    env = pod_of(job(model=model, dataset=dataset), Stage.PREPARE)["containers"][0]["env"]
    given = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in env if "valueFrom" in each}
    assert given == tokens


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        pytest.param({}, {"nvidia.com/gpu": 8, "rdma/hca": 1}, id="ours"),
        pytest.param({"rdma/hca": 8}, {"nvidia.com/gpu": 8, "rdma/hca": 8}, id="the user's count of rdma"),
    ],
)
def test_the_users_limits_win(job: JobBuilder, limits: dict[str, Any], expected: dict[str, Any]) -> None:
    workers = {"nodes": 2, "gpusPerNode": 8, "rdmaResourceName": "rdma/hca"}
    pod = pod_of(job(workers={**workers, "podOverrides": {"resources": {"limits": limits}}}), Stage.TRAIN)
    assert pod["containers"][0]["resources"]["limits"] == expected


def test_the_key_goes_to_the_gate_alone(job: JobBuilder) -> None:
    signed = job(export={"signing": {"keySecretRef": {"name": "model-signing", "key": "key.pem"}}})
    found = {
        stage: _signing_key(signed, stage) for stage in (Stage.PREPARE, Stage.TRAIN, Stage.MERGE, Stage.PUSH)
    }
    assert not any(found.values())
    assert _signing_key(signed, Stage.VERIFY) == [
        {
            "name": "MODEL_SIGNING_KEY",
            "valueFrom": {"secretKeyRef": {"name": "model-signing", "key": "key.pem"}},
        }
    ]
    assert not _signing_key(job(), Stage.VERIFY)


def _signing_key(parent: Any, stage: Stage) -> list[Manifest]:
    (container,) = pod_of(parent, stage)["containers"]
    return [variable for variable in container["env"] if variable["name"] == "MODEL_SIGNING_KEY"]


ASKED = {"tasks": [{"name": "faq", "uri": "datasets/faq.jsonl", "metric": "exact_match"}]}


@pytest.mark.parametrize(
    ("stage", "home"),
    [
        pytest.param(Stage.TRAIN, "/cache/.trainer-cache", id="training"),
        pytest.param(Stage.EVALUATE, "/cache/.server-cache", id="the server that is asked"),
        pytest.param(Stage.MERGE, "/tmp", id="nothing is compiled"),
    ],
)
@pytest.mark.parametrize(
    ("cache", "config"),
    [
        pytest.param({"claimName": "kernels"}, Config(cache_claim="other"), id="its own"),
        pytest.param(None, Config(cache_claim="kernels"), id="the operator's"),
    ],
)
def test_what_a_stage_compiles_outlives_its_pod(
    job: JobBuilder, cache: dict[str, str] | None, config: Config, stage: Stage, home: str
) -> None:
    pod = pod_of(job(cache=cache, evaluation=ASKED), stage, config)
    (container,) = pod["containers"]
    env = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert env["HOME"] == home
    claims = [
        volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"] if volume["name"] == "cache"
    ]
    mounts = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "cache"]
    assert (claims, mounts) == (([], []) if home == "/tmp" else (["kernels"], ["/cache"]))
    if stage is Stage.TRAIN:
        assert env["TORCHINDUCTOR_CACHE_DIR"] == f"{home}/.cache/torchinductor"


def test_without_a_cache_each_pod_compiles_anew(job: JobBuilder) -> None:
    pod = pod_of(job(), Stage.TRAIN)
    assert "cache" not in {volume["name"] for volume in pod["volumes"]}
