"""What of the overrides reaches which stage, and the pods that come of it."""

from typing import Any

import pytest
from fake_cluster import JobBuilder

from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.config import Config
from finetune_operator.core.objects import Manifest
from finetune_operator.finetune.children.job import Attempt, desired_job
from finetune_operator.finetune.children.names import names_of
from finetune_operator.finetune.overrides import overrides_of
from finetune_operator.finetune.stages import ON_GPUS, Stage

CPU_STAGES = [stage for stage in Stage if stage not in ON_GPUS]
EVALUATION = {"tasks": [{"name": "faq", "uri": "evaluations/faq.jsonl", "metric": "exact_match"}]}
OF_GPUS: dict[str, Any] = {
    "runtimeClassName": "nvidia",
    "hostNetwork": True,
    "resources": {"limits": {"rdma/hca": 8, "memory": "900Gi"}},
    "nodeSelector": {"nvidia.com/gpu.product": "H200", "zone": "a"},
    "tolerations": [
        {"key": "nvidia.com/gpu", "operator": "Exists"},
        {"key": "sku", "value": "gpu", "effect": "NoSchedule"},
        {"key": "acme.com/accel", "operator": "Exists"},
        {"key": "team", "value": "ml"},
    ],
    "annotations": {"k8s.v1.cni.cncf.io/networks": "rdma-net", "acme.com/cost": "42"},
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "cloud.google.com/gke-accelerator", "operator": "Exists"}]}
                ]
            }
        }
    },
}
WORKERS = {"gpuResourceName": "acme.com/accel", "rdmaResourceName": "rdma/hca", "podOverrides": OF_GPUS}


def job_of(job: FineTuneJob, stage: Stage) -> Manifest:
    return desired_job(job, names_of(job, "3f2a9c1b"), Attempt(stage=stage, number=0), Config())


def template_of(job: FineTuneJob, stage: Stage) -> Manifest:
    found: Manifest = job_of(job, stage)["spec"]["template"]
    return found


@pytest.mark.parametrize("stage", CPU_STAGES)
def test_what_is_for_gpus_does_not_reach_a_stage_on_cpus(job: JobBuilder, stage: Stage) -> None:
    template = template_of(job(workers=WORKERS), stage)
    pod = template["spec"]
    assert not {"runtimeClassName", "hostNetwork", "dnsPolicy", "affinity"} & pod.keys()
    assert pod["nodeSelector"] == {"zone": "a"}
    assert pod["tolerations"] == [{"key": "team", "value": "ml"}]
    assert template["metadata"]["annotations"] == {"acme.com/cost": "42"}
    assert "limits" not in pod["containers"][0]["resources"]


def test_it_reaches_training(job: JobBuilder) -> None:
    template = template_of(job(workers=WORKERS), Stage.TRAIN)
    pod = template["spec"]
    assert (pod["runtimeClassName"], pod["hostNetwork"]) == ("nvidia", True)
    assert (pod["nodeSelector"], template["metadata"]["annotations"]) == (
        OF_GPUS["nodeSelector"],
        OF_GPUS["annotations"],
    )
    # One would be asked for each pod: the user's count wins.
    assert pod["containers"][0]["resources"]["limits"] == {
        "acme.com/accel": 1,
        "rdma/hca": 8,
        "memory": "900Gi",
    }


def test_an_evaluation_gets_the_nodes_and_the_gpus_and_no_more(job: JobBuilder) -> None:
    template = template_of(job(workers=WORKERS, evaluation=EVALUATION), Stage.EVALUATE)
    pod = template["spec"]
    assert pod["runtimeClassName"] == "nvidia"
    assert pod["nodeSelector"] == OF_GPUS["nodeSelector"]
    assert pod["affinity"] == OF_GPUS["affinity"]
    assert "hostNetwork" not in pod
    assert template["metadata"]["annotations"] == {"acme.com/cost": "42"}
    assert pod["containers"][0]["resources"]["limits"] == {"acme.com/accel": 1}


def test_a_stage_gets_it_where_it_is_asked_for(job: JobBuilder) -> None:
    template = template_of(job(workers=WORKERS, stageOverrides={"verify": OF_GPUS}), Stage.VERIFY)
    assert template["spec"]["runtimeClassName"] == "nvidia"
    assert template["spec"]["containers"][0]["resources"]["limits"]["rdma/hca"] == 8


SECRET = {"name": "sec", "secret": {"secretName": "keys"}}
ADDED: dict[str, Any] = {
    "labels": {"team": "ml", "finetune.dev/run": "mine", "kueue.x-k8s.io/queue-name": "cpus"},
    "annotations": {"acme.com/cost": "42"},
    "volumes": [SECRET, {"name": "box", "emptyDir": {}}],
    "volumeMounts": [{"name": "sec", "mountPath": "/mnt/sec", "readOnly": True}],
    "initContainers": [
        {"name": "proxy", "image": "acme/proxy:1", "restartPolicy": "Always"},
        {"name": "wait", "image": "acme/wait:1", "securityContext": {"runAsUser": 7}},
    ],
    "imagePullSecrets": [{"name": "registry"}],
    "runtimeClassName": "kata",
    "dnsPolicy": "None",
    "dnsConfig": {
        "nameservers": ["10.0.0.1"],
        "searches": ["acme.internal"],
        "options": [{"name": "ndots", "value": "2"}],
    },
    "hostAliases": [{"ip": "10.0.0.9", "hostnames": ["hub.corp"]}],
}


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("name", ["prepare", "train", "merge", "verify", "evaluate", "push"])
def test_each_stage_has_its_own(job: JobBuilder, stage: Stage, name: str) -> None:
    export = {"shards": 2, "push": {"uri": "hf://a/b"}}
    parent = job(stageOverrides={name: ADDED}, export=export, evaluation=EVALUATION)
    made = job_of(parent, stage)
    template = made["spec"]["template"]
    pod = template["spec"]
    is_its = stage.value in (name, f"{name}-shards")
    assert ("initContainers" in pod) == is_its
    if not is_its:
        return
    for metadata in (made["metadata"], template["metadata"]):
        assert (metadata["labels"]["team"], metadata["annotations"]["acme.com/cost"]) == ("ml", "42")
        assert metadata["labels"]["finetune.dev/run"] == "3f2a9c1b"
        assert metadata["labels"]["kueue.x-k8s.io/queue-name"] == "cpus"
    restricted = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    said = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    assert pod["initContainers"] == [
        {"name": "proxy", "image": "acme/proxy:1", "restartPolicy": "Always"}
        | said
        | {"securityContext": restricted},
        {"name": "wait", "image": "acme/wait:1"} | said | {"securityContext": {**restricted, "runAsUser": 7}},
    ]
    assert pod["volumes"][-2:] == ADDED["volumes"]
    assert pod["containers"][0]["volumeMounts"][-1] == ADDED["volumeMounts"][0]
    for field in ("imagePullSecrets", "runtimeClassName", "dnsPolicy", "dnsConfig", "hostAliases"):
        assert pod[field] == ADDED[field]


@pytest.mark.parametrize(
    ("base", "own", "both"),
    [
        pytest.param(
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}]},
            {"env": [{"name": "A", "value": "2"}]},
            {"env": [{"name": "B", "value": "1"}, {"name": "A", "value": "2"}]},
            id="variables, by name",
        ),
        pytest.param(
            {"labels": {"a": "1", "b": "1"}},
            {"labels": {"a": "2"}},
            {"labels": {"a": "2", "b": "1"}},
            id="labels",
        ),
        pytest.param(
            {"resources": {"requests": {"cpu": 1, "memory": "1Gi"}}},
            {"resources": {"requests": {"cpu": 2}, "limits": {"cpu": 4}}},
            {"resources": {"requests": {"cpu": 2, "memory": "1Gi"}, "limits": {"cpu": 4}}},
            id="resources, each",
        ),
        pytest.param(
            {"hostNetwork": True}, {"hostNetwork": False}, {"hostNetwork": True}, id="false says nothing"
        ),
        pytest.param(
            {"runtimeClassName": "a"}, {"runtimeClassName": "b"}, {"runtimeClassName": "b"}, id="a name"
        ),
        pytest.param(
            {"tolerations": [{"key": "a", "operator": "Exists"}]},
            {"tolerations": [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}]},
            {"tolerations": [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}]},
            id="tolerations, once",
        ),
    ],
)
def test_what_a_stage_says_wins(
    job: JobBuilder, base: dict[str, Any], own: dict[str, Any], both: dict[str, Any]
) -> None:
    spec = job(workers={"device": "cpu", "podOverrides": base}, stageOverrides={"train": own}).spec
    found = overrides_of(spec, Stage.TRAIN).to_dict()
    assert {field: found[field] for field in both} == both


def test_what_kueue_reads_is_on_the_job_and_on_its_pods(job: JobBuilder) -> None:
    topology = {"kueue.x-k8s.io/podset-required-topology": "cloud.provider.com/topology-rack"}
    priority = {"kueue.x-k8s.io/priority-class": "urgent"}
    parent = job(stageOverrides={"train": {"labels": priority, "annotations": topology}})
    names = names_of(parent, "3f2a9c1b")
    made = desired_job(parent, names, Attempt(stage=Stage.TRAIN, number=0), Config())
    for metadata in (made["metadata"], made["spec"]["template"]["metadata"]):
        assert (metadata["labels"].items() >= priority.items(), metadata["annotations"]) == (True, topology)
