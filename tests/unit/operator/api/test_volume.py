"""What users may not take of pods, volumes, paths and containers, is what the builders make."""

from typing import Any

import pytest

from finetune_operator.api.container import OUR_CONTAINERS
from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.api.field_errors import field_errors
from finetune_operator.api.job import FineTuneJob
from finetune_operator.api.volume import JOB_VOLUMES, OUR_PATHS, OUR_VOLUMES, SERVER_VOLUMES
from finetune_operator.core.config import Config
from finetune_operator.core.egress import Egress
from finetune_operator.core.objects import Manifest
from finetune_operator.core.run import run_of
from finetune_operator.finetune.children.job import Attempt, desired_job
from finetune_operator.finetune.children.names import names_of
from finetune_operator.finetune.stages import Stage
from finetune_operator.serving.children.deployment import desired_deployment
from finetune_operator.serving.model import ServedAdapter, ServedModel

CONFIG = Config(egress=Egress(ca_config_map="trusted"))
JOB = {
    "model": {"uri": "models/b"},
    "flavor": "tiny_lora",
    "dataset": {"uri": "datasets/d.jsonl"},
    "training": {"steps": 10},
    "workers": {"device": "cpu"},
    "storage": {"claimName": "models"},
    "export": {"shards": 2, "push": {"uri": "oci://registry.example/a:1"}},
    "cache": {"claimName": "cache"},
}
SERVER = {
    "model": {"uri": "m", "verifySignature": {"publicKeyConfigMapRef": {"name": "k", "key": "k"}}},
    "storage": {"claimName": "models"},
    "cache": {"claimName": "cache"},
}


def manifest(kind: str, spec: Manifest) -> Manifest:
    return {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "faq"},
        "spec": spec,
    }


def pods_of_jobs() -> list[Manifest]:
    """The pod of every stage, with everything that configuration and spec add."""
    job = FineTuneJob.model_validate(manifest("FineTuneJob", JOB))
    names = names_of(job, run_of(job.spec))
    jobs = [desired_job(job, names, Attempt(stage=stage, number=0), CONFIG) for stage in Stage]
    return [each["spec"]["template"]["spec"] for each in jobs]


def pods_of_servers() -> list[Manifest]:
    adapter = ServedAdapter(name="a", path="adapters/a")
    model = ServedModel(claim="models", path="m", adapters=(adapter,))
    deployment = ModelDeployment.model_validate(manifest("ModelDeployment", SERVER))
    return [desired_deployment(deployment, model, CONFIG)["spec"]["template"]["spec"]]


def volumes(pods: list[Manifest]) -> set[str]:
    return {volume["name"] for pod in pods for volume in pod["volumes"]}


def containers(pods: list[Manifest]) -> list[Manifest]:
    return [each for pod in pods for each in (*pod.get("initContainers", ()), *pod["containers"])]


def test_volumes_of_ours() -> None:
    assert volumes(pods_of_jobs()) == set(JOB_VOLUMES)
    assert volumes(pods_of_servers()) == set(SERVER_VOLUMES)
    assert set(OUR_VOLUMES) == {*JOB_VOLUMES, *SERVER_VOLUMES}


def test_paths_and_containers_of_ours() -> None:
    found = containers([*pods_of_jobs(), *pods_of_servers()])
    assert {mount["mountPath"] for each in found for mount in each["volumeMounts"]} == set(OUR_PATHS)
    assert {each["name"] for each in found} == set(OUR_CONTAINERS)


BOX = {"name": "box", "emptyDir": {}}
MOUNT = {"name": "box", "mountPath": "/mnt/box"}
SIDECAR = {"name": "side", "image": "side", "volumeMounts": [MOUNT]}
NOWHERE = "a mount is of a volume that is not there; add it to volumes, or mount one of volume, "


@pytest.mark.parametrize(
    ("workers", "stages", "said"),
    [
        pytest.param({"volumeMounts": [MOUNT]}, {}, f"spec.workers.podOverrides: {NOWHERE}", id="nowhere"),
        pytest.param({"volumes": [BOX], "volumeMounts": [MOUNT]}, {}, "", id="there"),
        pytest.param(
            {"initContainers": [SIDECAR]},
            {},
            "spec.workers.podOverrides: a mount of initContainers is of a volume that is not there",
            id="a sidecar's, nowhere",
        ),
        pytest.param({"volumes": [BOX], "initContainers": [SIDECAR]}, {}, "", id="a sidecar's"),
        pytest.param(
            {"initContainers": [{**SIDECAR, "volumeMounts": [{**MOUNT, "name": "volume"}]}]},
            {},
            "",
            id="a sidecar's, of the volume of all stages",
        ),
        pytest.param({"volumes": [BOX]}, {"train": {"volumeMounts": [MOUNT]}}, "", id="of all stages"),
        pytest.param(
            {},
            {"train": {"volumes": [BOX]}, "merge": {"volumeMounts": [MOUNT]}},
            f"spec.stageOverrides: {NOWHERE}",
            id="of another stage",
        ),
        pytest.param(
            {},
            {"merge": {"initContainers": [SIDECAR]}},
            "spec.stageOverrides: a mount of initContainers is of a volume that is not there",
            id="a stage's sidecar's, nowhere",
        ),
        pytest.param(
            {"volumeMounts": [{**MOUNT, "name": "adapters"}]},
            {},
            f"spec.workers.podOverrides: {NOWHERE}",
            id="a server's",
        ),
    ],
)
def test_what_is_mounted_is_there(workers: Manifest, stages: Manifest, said: str) -> None:
    spec = {**JOB, "workers": {"device": "cpu", "podOverrides": workers}, "stageOverrides": stages}
    errors = "\n".join(map(str, field_errors(FineTuneJob, manifest("FineTuneJob", spec))))
    assert errors.startswith(said) if said else not errors


def test_what_a_server_mounts_is_there() -> None:
    spec = {**SERVER, "podOverrides": {"volumeMounts": [{**MOUNT, "name": "run"}]}}
    (error,) = field_errors(ModelDeployment, manifest("ModelDeployment", spec))
    assert str(error) == (
        "spec.podOverrides: a mount is of a volume that is not there; "
        "add it to volumes, or mount one of volume, tmp, shm, cache, ca"
    )


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        pytest.param({"configMap": {}}, "configMap.name", id="ConfigMap"),
        pytest.param({"secret": {"name": "x"}}, "secret.secretName", id="Secret"),
        pytest.param({"persistentVolumeClaim": {}}, "persistentVolumeClaim.claimName", id="claim"),
        pytest.param({"projected": {}}, "projected.sources", id="projected"),
        pytest.param({"csi": {"readOnly": True}}, "csi.driver", id="CSI"),
        pytest.param({"ephemeral": {}}, "ephemeral.volumeClaimTemplate", id="ephemeral"),
        pytest.param({"image": {"pullPolicy": "Always"}}, "image.reference", id="image"),
        pytest.param({"nfs": {"path": "/"}}, "nfs.server", id="NFS, no server"),
        pytest.param({"nfs": {"server": "a"}}, "nfs.path", id="NFS, no path"),
        pytest.param({"hostPath": {"type": "File"}}, "hostPath.path", id="a node's"),
        pytest.param({"emptyDir": {}}, "", id="empty"),
        pytest.param({"downwardAPI": {}}, "", id="downward"),
    ],
)
def test_a_source_says_what_it_is(source: dict[str, Any], missing: str) -> None:
    overrides = {"volumes": [{"name": "box", **source}]}
    spec = {**JOB, "workers": {"device": "cpu", "podOverrides": overrides}}
    errors = list(map(str, field_errors(FineTuneJob, manifest("FineTuneJob", spec))))
    field = f"spec.workers.podOverrides.volumes[0].{missing}"
    assert errors == ([f"{field}: is required; add it"] if missing else [])
