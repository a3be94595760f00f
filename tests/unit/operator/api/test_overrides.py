"""Overrides that are refused, each by its field."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_operator.api.field_errors import field_errors
from finetune_operator.api.job import FineTuneJob

BASE = {
    "model": {"uri": "models/b"},
    "flavor": "tiny_lora",
    "dataset": {"uri": "datasets/d.jsonl"},
    "training": {"steps": 10},
    "workers": {"device": "cpu"},
    "storage": {"claimName": "models"},
}
EMPTY = {"name": "box", "emptyDir": {}}


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        pytest.param({"serve": {}}, "spec.stageOverrides.serve", id="a server is no stage"),
        pytest.param({"merge-shards": {}}, "spec.stageOverrides.merge-shards", id="shards are of merge"),
        pytest.param(
            {"train": {"volumess": []}}, "spec.stageOverrides.train.volumess: is no field", id="no field"
        ),
        pytest.param(
            {"train": {"volumes": [{"name": "box"}]}},
            "spec.stageOverrides.train.volumes[0]: a volume has one source",
            id="a volume without a source",
        ),
        pytest.param(
            {"train": {"volumes": [{**EMPTY, "hostPath": {"path": "/x"}}]}},
            "spec.stageOverrides.train.volumes[0]: a volume has one source",
            id="a volume with two",
        ),
        pytest.param(
            {"train": {"volumes": [EMPTY, EMPTY]}},
            "spec.stageOverrides.train.volumes: box is there twice",
            id="twice",
        ),
        pytest.param(
            {"train": {"volumes": [{**EMPTY, "name": "run"}]}},
            "spec.stageOverrides.train.volumes: a volume has the name of one of the operator's",
            id="a volume of ours",
        ),
        pytest.param(
            {"train": {"volumeMounts": [{"name": "box", "mountPath": "/tmp"}]}},
            "spec.stageOverrides.train.volumeMounts: something of the operator's is at that path",
            id="a path of ours",
        ),
        pytest.param(
            {"train": {"volumeMounts": [{"name": "box", "mountPath": "mnt"}]}},
            "spec.stageOverrides.train.volumeMounts[0].mountPath",
            id="no absolute path",
        ),
        pytest.param(
            {"prepare": {"initContainers": [{"name": "main", "image": "x"}]}},
            "spec.stageOverrides.prepare.initContainers: a container has the name of one of the operator's",
            id="a container of ours",
        ),
        pytest.param(
            {"prepare": {"initContainers": [{"name": "x"}]}},
            "spec.stageOverrides.prepare.initContainers[0].image: is required",
            id="no image",
        ),
        pytest.param(
            {"prepare": {"dnsPolicy": "None"}},
            "spec.stageOverrides.prepare.dnsPolicy: dnsPolicy None",
            id="no names",
        ),
        pytest.param(
            {"prepare": {"dnsPolicy": "None", "dnsConfig": {"searches": ["acme.internal"]}}},
            "spec.stageOverrides.prepare.dnsPolicy: dnsPolicy None",
            id="no name servers",
        ),
        pytest.param(
            {"prepare": {"hostAliases": [{"ip": "10.0.0.1", "hostnames": []}]}},
            "spec.stageOverrides.prepare.hostAliases[0].hostnames",
            id="no host names",
        ),
        pytest.param(
            {"prepare": {"hostAliases": [{"ip": "cache.local", "hostnames": ["hub"]}]}},
            "spec.stageOverrides.prepare.hostAliases[0].ip: is 'cache.local'; use an IP address",
            id="no address",
        ),
    ],
)
def test_a_refusal_names_the_field(stages: dict[str, Any], said: str) -> None:
    manifest = {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": "faq"},
        "spec": {**BASE, "stageOverrides": stages},
    }
    assert said in "\n".join(map(str, field_errors(FineTuneJob, manifest)))


OURS = "spec.workers.podOverrides.env: a variable is one that the operator sets, or a program that it starts"
PROGRAMS = "spec.workers.podOverrides.env: PATH and PYTHONHOME hide the programs of the image"
JOINED = "spec.workers.podOverrides.env: PYTHONPATH is joined with the operator's own, which takes its value"
# Which a user may set otherwise than we do.
ANYBODYS = re.compile(
    "HOME|PYTHONPATH|HF_|AWS_|DOCKER_AUTH_CONFIG|(TORCH_)?NCCL_|PYTORCH_ALLOC_CONF|OMP_NUM_THREADS|WANDB_|MLFLOW_"
    "|VLLM_(NO_USAGE|CPU|USE|ALLREDUCE|HOST)|CUTE_DSL_"
)
FIELD = {"valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}


def env_errors(name: str, given: dict[str, Any]) -> str:
    workers = {"device": "cpu", "podOverrides": {"env": [{"name": name, **given}]}}
    manifest = {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": "faq"},
        "spec": {**BASE, "workers": workers},
    }
    return "\n".join(map(str, field_errors(FineTuneJob, manifest)))


@pytest.mark.parametrize("given", [{}, {"value": "x"}, FIELD], ids=["empty", "value", "source"])
@pytest.mark.parametrize(
    ("said", "names"),
    [
        pytest.param(
            OURS,
            "FINETUNE_PROGRESS_PORT FINETUNE_PROBE FINETUNE_RDMA FINETUNE_TERMINATION_LOG PET_NNODES "
            "PET_RDZV_ID PET_NPROC_PER_NODE LWS_LEADER_ADDRESS MASTER_ADDR MASTER_PORT NODE_RANK RANK "
            "LOCAL_RANK GROUP_RANK ROLE_RANK WORLD_SIZE LOCAL_WORLD_SIZE SHARD_INDEX ADAPTERS_ROOT "
            "SERVED_MODEL_NAME SERVING_PORT VLLM_API_KEY MODEL_SIGNING_KEY MODEL_PUBLIC_KEY",
            id="ours",
        ),
        pytest.param(PROGRAMS, "PATH PYTHONHOME", id="programs"),
        pytest.param(
            "",
            "HOME HF_HOME HF_TOKEN HF_ENDPOINT HF_HUB_OFFLINE HTTPS_PROXY NCCL_DEBUG NCCL_SOCKET_IFNAME "
            "NCCL_CROSS_NIC PYTORCH_ALLOC_CONF LD_LIBRARY_PATH OMP_NUM_THREADS CUDA_VISIBLE_DEVICES "
            "AWS_REGION VLLM_USE_DEEP_GEMM VLLM_HOST_IP VLLM_CPU_KVCACHE_SPACE FI_PROVIDER RANKS MY_RANK "
            "PETS COMPETE_A MY_FINETUNE_KEY PYTHONUNBUFFERED TORCH_NCCL_ASYNC_ERROR_HANDLING path",
            id="anybody's",
        ),
    ],
)
def test_a_variable_that_our_pods_need_is_refused(said: str, names: str, given: dict[str, Any]) -> None:
    for name in names.split():
        errors = env_errors(name, given)
        assert (said in errors) if said else not errors, f"{name}: {errors}"


def test_a_python_path_needs_a_value() -> None:
    assert env_errors("PYTHONPATH", {"value": "/mnt/code"}) == ""
    assert JOINED in env_errors("PYTHONPATH", FIELD)


def test_every_variable_of_our_own_is_known_to_be_ours_or_anybody_s() -> None:
    """A new one is to be named here, or among those that are refused."""
    set_by_us = {name for child in golden() for name in variables(child)}
    anybodys = {name for name in set_by_us if OURS not in env_errors(name, {})}
    assert {name for name in anybodys if not ANYBODYS.match(name)} == set()


def golden() -> list[Any]:
    folder = Path(__file__).parents[3] / "golden/children"
    return [child for file in sorted(folder.glob("*.yaml")) for child in yaml.safe_load_all(file.read_text())]


def variables(value: Any) -> set[str]:
    """The variables of all containers within."""
    if isinstance(value, list):
        return {name for each in value for name in variables(each)}
    if not isinstance(value, dict):
        return set()
    found = {each["name"] for each in value.get("env") or () if isinstance(each, dict)}
    return found | {name for each in value.values() for name in variables(each)}
