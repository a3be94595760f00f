"""The manifests of docs/guides/clouds.md and pods.md are valid, and their pods have what the pages say."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_operator.api.field_errors import field_errors
from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.config import Config
from finetune_operator.core.objects import Manifest
from finetune_operator.finetune.children.job import Attempt, desired_job
from finetune_operator.finetune.children.names import names_of
from finetune_operator.finetune.stages import Stage

GUIDES = Path(__file__).parents[3] / "docs/guides"


def manifests_of(guide: str) -> dict[str, Manifest]:
    blocks = re.findall(r"^```yaml\n(.*?)^```", (GUIDES / guide).read_text(), re.MULTILINE | re.DOTALL)
    return {manifest["metadata"]["name"]: manifest for manifest in map(yaml.safe_load, blocks)}


MANIFESTS = manifests_of("clouds.md") | manifests_of("pods.md")


def template_of(name: str, stage: Stage) -> Manifest:
    job = FineTuneJob.model_validate(MANIFESTS[name])
    attempt = Attempt(stage=stage, number=0)
    made: Manifest = desired_job(job, names_of(job, "3f2a9c1b"), attempt, Config())["spec"]["template"]
    return made


def variables(container: Manifest) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in container["env"]}


@pytest.mark.parametrize("name", MANIFESTS)
def test_it_is_valid(name: str) -> None:
    assert field_errors(FineTuneJob, MANIFESTS[name]) == []


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        pytest.param(
            "eks-efa",
            {"vpc.amazonaws.com/efa": 32, "hugepages-2Mi": "5120Mi", "memory": "1600Gi"},
            id="EKS: every EFA",
        ),
        pytest.param("gke-gib", {}, id="GKE: networks, and no device"),
        pytest.param("gke-tcpxo", {}, id="GKE with TCPXO: the daemon's"),
        pytest.param("aks-infiniband", {"nvidia.com/mlnxnics": 8, "memory": "1700Gi"}, id="AKS: every HCA"),
        pytest.param("coreweave", {"rdma/ib": 1}, id="CoreWeave: one for all HCAs"),
        pytest.param("bare-metal", {"nvidia.com/sriov_rdma": 8}, id="bare metal: every function"),
        pytest.param("openshift", {}, id="OpenShift"),
    ],
)
def test_training_asks_for_its_network(name: str, limits: dict[str, Any]) -> None:
    (container,) = template_of(name, Stage.TRAIN)["spec"]["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 8, **limits}


@pytest.mark.parametrize("name", [name for name in MANIFESTS if name != "faq"])
@pytest.mark.parametrize("stage", [Stage.PREPARE, Stage.MERGE, Stage.VERIFY])
def test_nothing_of_it_reaches_stages_on_cpus(name: str, stage: Stage) -> None:
    template = template_of(name, stage)
    pod = template["spec"]
    (container,) = pod["containers"]
    assert "limits" not in container["resources"]
    assert not {"nodeSelector", "tolerations", "affinity", "initContainers"} & pod.keys()
    assert "annotations" not in template["metadata"]
    assert "add" not in container["securityContext"]["capabilities"]
    assert not any("hostPath" in volume for volume in pod["volumes"])


@pytest.mark.parametrize(
    ("name", "annotations", "mounts"),
    [
        pytest.param(
            "gke-gib",
            ["networking.gke.io/default-interface", "networking.gke.io/interfaces"],
            ["/usr/local/gib", "/usr/local/nvidia"],
            id="gIB",
        ),
        pytest.param(
            "gke-tcpxo",
            [
                "devices.gke.io/container.tcpxo-daemon",
                "networking.gke.io/default-interface",
                "networking.gke.io/interfaces",
            ],
            ["/dev/aperture_devices", "/usr/local/nvidia"],
            id="TCPXO",
        ),
        pytest.param("bare-metal", ["k8s.v1.cni.cncf.io/networks"], [], id="Multus"),
    ],
)
def test_training_has_its_networks_and_files(name: str, annotations: list[str], mounts: list[str]) -> None:
    template = template_of(name, Stage.TRAIN)
    (container,) = template["spec"]["containers"]
    assert sorted(template["metadata"]["annotations"]) == annotations
    assert {mount["mountPath"] for mount in container["volumeMounts"]} >= set(mounts)
    if interfaces := template["metadata"]["annotations"].get("networking.gke.io/interfaces"):
        assert len(yaml.safe_load(interfaces)) == 9


def test_tcpxo_runs_beside_training_and_ends_after_it() -> None:
    (daemon,) = template_of("gke-tcpxo", Stage.TRAIN)["spec"]["initContainers"]
    assert (daemon["name"], daemon["restartPolicy"]) == ("tcpxo-daemon", "Always")
    assert daemon["securityContext"]["capabilities"] == {"add": ["NET_ADMIN", "NET_BIND_SERVICE"]}
    assert daemon["securityContext"]["runAsUser"] == 0


@pytest.mark.parametrize("name", ["aks-infiniband", "bare-metal"])
def test_memory_can_be_locked_where_the_page_says_so(name: str) -> None:
    (container,) = template_of(name, Stage.TRAIN)["spec"]["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["IPC_LOCK"]}


@pytest.mark.parametrize("name", [name for name in MANIFESTS if name not in ("faq", "openshift")])
def test_nccl_says_what_it_took(name: str) -> None:
    (container,) = template_of(name, Stage.TRAIN)["spec"]["containers"]
    assert variables(container)["NCCL_DEBUG"] == "INFO"


@pytest.mark.parametrize("stage", [Stage.PREPARE, Stage.TRAIN, Stage.MERGE, Stage.VERIFY])
def test_openshifts_pods_run_as_the_namespaces_user(stage: Stage) -> None:
    pod = template_of("openshift", stage)["spec"]
    security = pod["securityContext"]
    assert (security["runAsUser"], security["fsGroup"]) == (1000680000, 1000680000)
    assert security["runAsNonRoot"]


def test_the_page_of_pods_shows_a_proxy_of_prepare_alone() -> None:
    assert [c["name"] for c in template_of("faq", Stage.PREPARE)["spec"]["initContainers"]] == ["proxy"]
    assert "initContainers" not in template_of("faq", Stage.TRAIN)["spec"]
    (merge,) = template_of("faq", Stage.MERGE)["spec"]["containers"]
    assert merge["resources"]["requests"] == {"cpu": 8, "memory": "16Gi", "ephemeral-storage": "2048Mi"}
