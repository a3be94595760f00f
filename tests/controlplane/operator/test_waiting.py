"""What waits says why: pods that the API refuses, that a node does not start, or whose node is lost."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cluster.pods import Pods, evicted, never_started, succeed
from kubernetes import client
from parents import DEPLOYMENT, Parents, job_spec
from waiting import until

PREPARE = {"app.kubernetes.io/component": "prepare"}
TRAIN = {"app.kubernetes.io/component": "train"}
BINDING = "finetune-operator-pod-overrides"


def until_said(parents: Parents, kind: str, name: str, condition: str, *texts: str) -> str:
    """Wait for a condition's message that has these texts, and return it."""

    def said() -> str:
        message = str(parents.condition(kind, name, condition).get("message", ""))
        return message if all(text in message for text in texts) else ""

    return str(until(f"{condition} of {kind} {name} to say {texts}", said))


@pytest.mark.parametrize(
    ("changes", "texts"),
    [
        pytest.param(
            {"scheduling": {"priorityClassName": "absent"}},
            ("no PriorityClass with name absent was found (since ", "Correct scheduling.priorityClassName"),
            id="no PriorityClass",
        ),
        pytest.param(
            {"workers": {"device": "cpu", "podOverrides": {"serviceAccountName": "absent"}}},
            ('serviceaccount "absent" not found (since ', "or correct podOverrides.serviceAccountName"),
            id="no service account",
        ),
    ],
)
def test_pods_that_are_refused_say_why(
    parents: Parents, changes: dict[str, Any], texts: tuple[str, ...]
) -> None:
    parents.create("FineTuneJob", "faq", job_spec(**changes))
    until_said(parents, "FineTuneJob", "faq", "Prepared", "its pods are refused: ", *texts)
    job = parents.get("FineTuneJob", "faq")
    assert job
    assert job["status"]["phase"] == "Pending"


def test_a_quota_is_named_for_jobs_and_for_servers_until_it_is_raised(
    parents: Parents, pods: Pods, api: client.ApiClient
) -> None:
    pods.play(PREPARE, succeed())
    core = client.CoreV1Api(api)
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    core.create_namespaced_resource_quota(parents.namespace, quota)
    until("the quota", lambda: core.read_namespaced_resource_quota("none", parents.namespace).status.hard)
    parents.create("FineTuneJob", "faq", job_spec())
    spec = {"model": {"uri": "models/tiny"}, "storage": {"claimName": "models"}, **DEPLOYMENT}
    parents.create("ModelDeployment", "base", spec)
    said = (
        "its pods are refused: exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0 (since "
    )
    until_said(parents, "ModelDeployment", "base", "Available", said)
    until_said(parents, "FineTuneJob", "faq", "Prepared", said)
    core.delete_namespaced_resource_quota("none", parents.namespace)
    parents.until("FineTuneJob", "faq", "Prepared")
    parents.until("ModelDeployment", "base", "Available")


@contextmanager
def unenforced(api: client.ApiClient) -> Iterator[None]:
    """Without the chart's policy about overrides, which would not let the job in."""
    admission = client.AdmissionregistrationV1Api(api)

    def do(action: str) -> None:
        admission.patch_validating_admission_policy_binding(
            BINDING, {"spec": {"validationActions": [action]}}
        )

    do("Audit")
    yield
    do("Deny")


def test_what_pod_security_refuses_is_named(parents: Parents, pods: Pods, api: client.ApiClient) -> None:
    pods.play(PREPARE, succeed())
    spec = job_spec(workers={"nodes": 2, "device": "cpu", "ipcLock": True})

    def created() -> bool:
        try:
            parents.create("FineTuneJob", "faq", spec)
        except client.ApiException as refused:
            if refused.status != 422:
                raise
            return False
        return True

    with unenforced(api):
        until("a job that the policy lets in", created)
        until_said(
            parents,
            "FineTuneJob",
            "faq",
            "Trained",
            'its pods are refused: violates PodSecurity "restricted:latest": ',
            "IPC_LOCK",
            "Take out of podOverrides what it names",
        )


def test_an_eviction_by_a_node_that_has_too_little_counts_and_is_named(parents: Parents, pods: Pods) -> None:
    pods.play(PREPARE, succeed())
    pods.play(TRAIN, evicted("The node was low on resource: memory. "))
    parents.create("FineTuneJob", "faq", job_spec())
    failed = parents.until("FineTuneJob", "faq", "Failed")
    assert failed["reason"] == "RestartsExhausted"
    assert (
        "The train stage failed again after 1 restart: Its node evicted it: The node was low on"
        in failed["message"]
    )
    job = parents.get("FineTuneJob", "faq")
    assert job
    assert job["status"]["restarts"] == 2


def test_a_pod_that_its_node_does_not_start_says_the_newest_event(
    parents: Parents, pods: Pods, api: client.ApiClient
) -> None:
    pods.play(PREPARE, never_started())
    parents.create("FineTuneJob", "faq", job_spec())
    pod = until("a pod", lambda: parents.pods(component="prepare"))[0]
    client.CoreV1Api(api).create_namespaced_event(parents.namespace, failed_mount(pod))
    until_said(
        parents,
        "FineTuneJob",
        "faq",
        "Prepared",
        f"pod {pod.metadata.name} is on its node and does not start: FailedMount: MountVolume.SetUp failed",
        "Make the Secret or ConfigMap that it names",
    )


def failed_mount(pod: client.V1Pod) -> dict[str, Any]:
    """The event that a kubelet writes."""
    return {
        "metadata": {"generateName": f"{pod.metadata.name}."},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": pod.metadata.namespace,
            "name": pod.metadata.name,
            "uid": pod.metadata.uid,
        },
        "type": "Warning",
        "reason": "FailedMount",
        "message": 'MountVolume.SetUp failed for volume "ca" : configmap "ca" not found',
        "source": {"component": "kubelet"},
        "firstTimestamp": pod.metadata.creation_timestamp,
        "lastTimestamp": pod.metadata.creation_timestamp,
        "count": 1,
    }


def test_a_lost_node_is_named(parents: Parents, pods: Pods, api: client.ApiClient) -> None:
    """As the node's controller says it: Ready of its pods is False, and nothing else changes."""
    pods.play(PREPARE, succeed())
    # One pod: a second one finds no other CPU node, and that is said first.
    parents.create("FineTuneJob", "faq", job_spec(workers={"nodes": 1, "device": "cpu"}))
    pod = until("pods", lambda: [p for p in parents.pods(component="train") if p.status.phase == "Running"])[
        0
    ]
    ready = {"type": "Ready", "status": "False", "reason": None, "lastTransitionTime": "2026-01-01T00:00:00Z"}
    name = pod.metadata.name
    client.CoreV1Api(api).patch_namespaced_pod_status(
        name, parents.namespace, {"status": {"conditions": [ready]}}
    )
    said = f"the node of pod {name} does not answer (since 2026-01-01T00:00:00Z)"
    until_said(parents, "FineTuneJob", "faq", "Trained", said, "Bring the node back, or delete it")
    job = parents.get("FineTuneJob", "faq")
    assert job
    assert job["status"]["phase"] == "Training"
