"""A deployment on a real Deployment controller: rolled back, repaired, scaled, and watched."""

import json
from typing import Any

import pytest
from cluster.commands import Run
from cluster.pods import Pods, never_ready, succeed
from parents import DEPLOYMENT, Parents, job_spec
from waiting import until

OPEN = json.dumps([{"op": "replace", "path": "/spec/ingress", "value": [{}]}])


def serving(version: str, **changes: Any) -> dict[str, Any]:
    """A spec whose pods carry the version as a label."""
    return {
        "model": {"uri": f"models/{version}"},
        "storage": {"claimName": "models"},
        "device": "cpu",
        "podOverrides": {"labels": {"version": version}},
        **changes,
    }


def served(parents: Parents) -> str:
    return str((parents.get("ModelDeployment", "faq") or {})["status"].get("modelPath"))


def test_a_version_that_is_never_ready_gives_way_to_the_one_before(parents: Parents, pods: Pods) -> None:
    # As short as the API lets it be.
    rollout = {"progressDeadlineSeconds": 60}
    pods.play({"version": "two"}, never_ready())
    parents.create("ModelDeployment", "faq", serving("one", rollout=rollout))
    parents.until("ModelDeployment", "faq", "Available")

    parents.patch("ModelDeployment", "faq", serving("two", rollout=rollout))
    parents.until("ModelDeployment", "faq", "Available", "False")
    stalled = parents.until("ModelDeployment", "faq", "Stalled")

    assert stalled["reason"] == "RolledBack"
    parents.until("ModelDeployment", "faq", "Available")
    assert served(parents) == "models/one"
    (pod,) = until("one pod", lambda: len(p := parents.pods(component="serve")) == 1 and p)
    assert pod.metadata.labels["version"] == "one"
    assert ("Warning", "RolledBack") in parents.events("ModelDeployment", "faq")

    parents.patch("ModelDeployment", "faq", serving("three", rollout=rollout))
    parents.until("ModelDeployment", "faq", "Stalled", "False")
    until("the third version", lambda: served(parents) == "models/three")
    parents.until("ModelDeployment", "faq", "Available")


def test_children_that_somebody_changes_are_repaired(parents: Parents, kubectl: Run) -> None:
    here = f"--namespace={parents.namespace}"
    parents.create("ModelDeployment", "faq", serving("one"))
    parents.until("ModelDeployment", "faq", "Available")

    kubectl("scale", "deployment/faq", "--replicas=3", here)
    kubectl("set", "image", "deployment/faq", "server=somebody/else", here)
    kubectl("patch", "networkpolicy/faq", here, "--type=json", "--patch", OPEN)
    kubectl("delete", "service/faq", here)

    def repaired() -> bool:
        wanted = ("deployment/faq", "networkpolicy/faq", "service/faq")
        found = kubectl("get", *wanted, here, "--output=json", check=False)
        if found.returncode != 0:
            return False
        deployment, policy, _ = json.loads(found.stdout)["items"]
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        return (
            deployment["spec"]["replicas"] == 1
            and container["image"] != "somebody/else"
            and policy["spec"]["ingress"][0]["ports"][0]["port"] == 8000
        )

    until("what was applied", repaired)


def test_it_scales_as_a_deployment_does(parents: Parents, kubectl: Run) -> None:
    here = f"--namespace={parents.namespace}"
    parents.create("ModelDeployment", "faq", serving("one"))
    parents.until("ModelDeployment", "faq", "Available")

    kubectl("scale", "modeldeployment/faq", "--replicas=2", here)

    path = f"/apis/finetune.dev/v1alpha1/namespaces/{parents.namespace}/modeldeployments/faq/scale"
    scale = until(
        "two replicas",
        lambda: (s := json.loads(kubectl("get", "--raw", path).stdout))["status"]["replicas"] == 2 and s,
    )
    selected = kubectl("get", "pods", here, f"--selector={scale['status']['selector']}", "--output=name")
    assert len(selected.stdout.split()) == 2


def test_an_autoscaler_scales_it_and_goes_with_its_field(parents: Parents, kubectl: Run) -> None:
    """Kubernetes' own controller, which has no metrics here, raises replicas to their minimum."""
    here = f"--namespace={parents.namespace}"
    autoscaled = serving("one", autoscaling={"minReplicas": 2, "maxReplicas": 3})
    parents.create("ModelDeployment", "faq", autoscaled)

    def scaled() -> bool:
        faq = parents.get("ModelDeployment", "faq") or {}
        return faq["spec"]["replicas"] == 2 and faq.get("status", {}).get("readyReplicas") == 2

    until("two replicas", scaled)
    parents.patch("ModelDeployment", "faq", {"autoscaling": None})
    until(
        "no autoscaler",
        lambda: not kubectl("get", "horizontalpodautoscaler", here, "--output=name").stdout,
    )


def test_kedas_autoscaler_takes_the_place_of_kubernetes_own(parents: Parents, kubectl: Run) -> None:
    """And gives it back: one at a time, each as its API takes it; none in the end."""
    here = f"--namespace={parents.namespace}"
    prometheus = {"serverAddress": "http://prometheus:9090", "wakeQuery": "sum(gateway_requests_open)"}

    def autoscalers() -> list[dict[str, Any]]:
        found = kubectl("get", "scaledobjects,horizontalpodautoscalers", here, "--output=json").stdout
        items: list[dict[str, Any]] = json.loads(found)["items"]
        return items

    def scaled_by(kind: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = until(
            f"a {kind} alone", lambda: [e["kind"] for e in f] == [kind] and f if (f := autoscalers()) else []
        )
        return found[0]

    parents.create("ModelDeployment", "faq", serving("one", autoscaling={"minReplicas": 1, "maxReplicas": 3}))
    scaled_by("HorizontalPodAutoscaler")
    parents.patch("ModelDeployment", "faq", {"autoscaling": {"minReplicas": 0, "prometheus": prometheus}})
    keda = scaled_by("ScaledObject")["spec"]
    assert (keda["minReplicaCount"], keda["maxReplicaCount"]) == (0, 3)
    assert keda["scaleTargetRef"]["kind"] == "ModelDeployment"
    assert [each["name"] for each in keda["triggers"]] == ["waiting", "running", "wake"]
    kubectl("patch", "scaledobject/faq", here, "--type=merge", '--patch={"spec": {"maxReplicaCount": 9}}')
    until("what was applied", lambda: scaled_by("ScaledObject")["spec"]["maxReplicaCount"] == 3)
    parents.patch("ModelDeployment", "faq", {"autoscaling": {"minReplicas": 1, "prometheus": None}})
    scaled_by("HorizontalPodAutoscaler")
    parents.patch("ModelDeployment", "faq", {"autoscaling": None})
    until("no autoscaler", lambda: not autoscalers())


@pytest.mark.usefixtures("stages_succeed")
def test_shards_merge_side_by_side(parents: Parents, pods: Pods) -> None:
    pods.play({"app.kubernetes.io/component": "merge-shards"}, succeed())
    parents.create("FineTuneJob", "faq", job_spec(export={"shards": 3}))
    parents.until("FineTuneJob", "faq", "Complete")
    (shards,) = (job for job in parents.jobs() if "-merge-shards-" in job.metadata.name)
    assert (shards.status.succeeded, shards.status.completed_indexes) == (3, "0-2")


@pytest.mark.usefixtures("stages_succeed")
def test_the_command_line_watches_and_tells(parents: Parents, finetune: Run) -> None:
    parents.create("FineTuneJob", "faq", job_spec(deployment=DEPLOYMENT))
    here = ("faq", "--namespace", parents.namespace)
    watched = finetune("watch", *here)
    assert "FineTuneJob faq: Training: The train stage " in watched.stdout
    assert "ModelDeployment faq: Serving: 1 of 1 replicas answer\n" in watched.stdout
    told = finetune("status", *here)
    assert f"FineTuneJob {parents.namespace}/faq" in told.stdout
    assert "Complete" in told.stdout
