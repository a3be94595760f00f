"""Why a pod does not run, and how one ended."""

from typing import Any

import observing
import pytest

from finetune_operator.core.conditions import parse_timestamp
from finetune_operator.core.observed.pod import observe_pod, waiting_of
from finetune_operator.core.termination import Termination, cause_of
from finetune_operator.core.wait_reason import WaitReason
from finetune_operator.core.waiting import Wait

SINCE = "2026-01-01T00:00:00Z"


def pending(**status: Any) -> dict[str, Any]:
    return {"phase": "Pending", **status}


def container(reason: str, message: str = "") -> list[dict[str, Any]]:
    return [
        {
            "name": "main",
            "state": {"waiting": {"reason": reason, **({"message": message} if message else {})}},
        }
    ]


def condition(type_: str, status: str, reason: str = "", message: str = "") -> dict[str, Any]:
    said = {"reason": reason, "message": message}
    kept = {name: text for name, text in said.items() if text}
    return {"type": type_, "status": status, "lastTransitionTime": SINCE, **kept}


def wait(reason: WaitReason, text: str = "", since: str | None = SINCE) -> Wait:
    return Wait(reason=reason, name="pod", text=text, since=parse_timestamp(since) if since else None)


CRASHED = {
    "name": "fetch",
    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting"}},
    "lastState": {"terminated": {"exitCode": 7, "message": "first\nno such bucket\n"}},
}
UNSCHEDULABLE = [condition("PodScheduled", "False", "Unschedulable", "0/5 nodes are available")]
NOT_READY = [condition("Ready", "False")]
UP = [{"name": "main", "ready": True, "state": {"running": {}}}]


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        pytest.param([], None, id="no pods"),
        pytest.param([pending()], None, id="just made"),
        pytest.param([{"phase": "Running"}], None, id="running"),
        pytest.param(
            [pending(conditions=UNSCHEDULABLE)],
            wait(WaitReason.UNSCHEDULABLE, "0/5 nodes are available"),
            id="no node",
        ),
        pytest.param(
            [pending(conditions=[condition("PodScheduled", "False", "SchedulingGated", "gated")])],
            wait(WaitReason.GATED, "gated"),
            id="held back",
        ),
        pytest.param([pending(containerStatuses=container("ContainerCreating"))], None, id="being made"),
        pytest.param(
            [pending(startTime=SINCE, containerStatuses=container("ImagePullBackOff", "no such tag"))],
            wait(WaitReason.IMAGE, "ImagePullBackOff: no such tag"),
            id="no image",
        ),
        pytest.param(
            [
                pending(
                    startTime=SINCE,
                    containerStatuses=container(
                        "ImagePullBackOff",
                        'Back-off pulling image "reg/trainer:v2": ErrImagePull: rpc error: not found',
                    ),
                )
            ],
            wait(WaitReason.IMAGE, "ErrImagePull: rpc error: not found"),
            id="no image, between two pulls",
        ),
        pytest.param(
            [pending(initContainerStatuses=container("ErrImagePull"))],
            wait(WaitReason.IMAGE, "ErrImagePull", None),
            id="no image of an init container",
        ),
        pytest.param(
            [pending(containerStatuses=container("CreateContainerConfigError", 'secret "hub" not found'))],
            wait(WaitReason.CONFIGURATION, 'CreateContainerConfigError: secret "hub" not found', None),
            id="no Secret",
        ),
        pytest.param(
            [{"phase": "Running"}, pending(conditions=UNSCHEDULABLE)],
            wait(WaitReason.UNSCHEDULABLE, "0/5 nodes are available"),
            id="one of several",
        ),
        pytest.param(
            [{"phase": "Running", "conditions": NOT_READY, "containerStatuses": UP}],
            wait(WaitReason.NODE_LOST),
            id="the node does not answer",
        ),
        pytest.param(
            [
                {
                    "phase": "Running",
                    "conditions": NOT_READY,
                    "containerStatuses": [{"name": "main", "ready": False}],
                }
            ],
            None,
            id="a server that is not ready yet",
        ),
        pytest.param(
            [
                {
                    "phase": "Running",
                    "conditions": [condition("Ready", "False", "ReadinessGatesNotReady")],
                    "containerStatuses": UP,
                }
            ],
            None,
            id="a load balancer's gate is not open yet",
        ),
        pytest.param(
            [{"phase": "Unknown", "conditions": [condition("Ready", "Unknown", "NodeStatusUnknown")]}],
            wait(WaitReason.NODE_LOST),
            id="of an old cluster whose node does not answer",
        ),
        pytest.param(
            [pending(initContainerStatuses=[CRASHED])],
            wait(WaitReason.OTHER_CONTAINER, "fetch, CrashLoopBackOff, exit code 7: no such bucket", None),
            id="an init container that fails each time",
        ),
    ],
)
def test_waiting_of(pods: list[dict[str, Any]], said: Wait | None) -> None:
    assert waiting_of(observing.pod(**status) for status in pods) == said


FETCHES = {"name": "fetch", "started": False, "state": {"running": {"startedAt": SINCE}}}
SCHEDULED = [condition("PodScheduled", "True")]


@pytest.mark.parametrize(
    ("metadata", "status", "delayed"),
    [
        pytest.param({"creationTimestamp": SINCE}, pending(), WaitReason.NOT_SCHEDULED, id="no scheduler"),
        pytest.param({}, pending(conditions=UNSCHEDULABLE), None, id="its scheduler says why"),
        pytest.param({}, pending(conditions=SCHEDULED), WaitReason.CREATING, id="on a node"),
        pytest.param({}, {"phase": "Running"}, None, id="running"),
        pytest.param({"deletionTimestamp": SINCE}, {"phase": "Running"}, WaitReason.NOT_ENDING, id="to end"),
        pytest.param(
            {},
            pending(conditions=SCHEDULED, initContainerStatuses=[FETCHES]),
            WaitReason.INITIALIZING,
            id="an init container runs",
        ),
        pytest.param(
            {},
            pending(conditions=SCHEDULED, initContainerStatuses=[{**FETCHES, "name": "mesh"}]),
            WaitReason.INITIALIZING,
            id="a sidecar has not started",
        ),
        pytest.param(
            {},
            pending(
                conditions=SCHEDULED, initContainerStatuses=[{**FETCHES, "name": "mesh", "started": True}]
            ),
            WaitReason.CREATING,
            id="a sidecar runs",
        ),
    ],
)
def test_what_a_pod_goes_through(
    metadata: dict[str, Any], status: dict[str, Any], delayed: WaitReason | None
) -> None:
    named = {"name": "pod", "namespace": "ml", **metadata}
    spec = {"initContainers": [{"name": "fetch"}, {"name": "mesh", "restartPolicy": "Always"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": named, "spec": spec, "status": status}
    seen = observe_pod(pod).delayed
    assert (seen and seen.reason, seen and seen.since) == (
        delayed,
        parse_timestamp(SINCE) if delayed else None,
    )
    if delayed is WaitReason.INITIALIZING:
        assert seen
        assert seen.text == status["initContainerStatuses"][0]["name"]


@pytest.mark.parametrize(
    ("status", "reason", "disrupted"),
    [
        pytest.param({"reason": "Evicted", "message": "low on memory"}, "Evicted", False, id="evicted"),
        pytest.param(
            {"reason": "Terminated", "message": "imminent node shutdown"},
            "Terminated",
            True,
            id="the node was shut down",
        ),
        pytest.param(
            {"reason": "UnexpectedAdmissionError", "message": "Pod was rejected", "conditions": []},
            "UnexpectedAdmissionError",
            False,
            id="the node has no healthy GPU",
        ),
        pytest.param(
            {"reason": "NodeShutdown", "message": "Pod was rejected", "conditions": []},
            "NodeShutdown",
            True,
            id="the node shuts down",
        ),
    ],
)
def test_what_the_kubelet_did_to_a_pod(status: dict[str, Any], reason: str, disrupted: bool) -> None:
    target = [condition("DisruptionTarget", "True", "TerminationByKubelet")]
    seen = observing.pod(**{"phase": "Failed", "conditions": target, **status})
    assert ([end.reason for end in seen.ends], seen.disrupted) == ([reason], disrupted)
    assert status["message"] in seen.ends[0].message


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        pytest.param("The node was low on resource: memory. ", "Raise the requests", id="its memory"),
        pytest.param(
            "The node was low on resource: ephemeral-storage. Container main was using 9Gi, "
            "request is 1Gi, has "
            "larger consumption of ephemeral-storage. ",
            "Raise the requests",
            id="the node's disk",
        ),
        pytest.param(
            "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ",
            "Raise that limit",
            id="its own disk",
        ),
        pytest.param(
            'Container main exceeded its local ephemeral storage limit "1Gi". ',
            "Raise that limit",
            id="its container's disk",
        ),
        pytest.param(
            'Usage of EmptyDir volume "scratch" exceeds the limit "1Gi". ',
            "Raise that limit",
            id="an emptyDir",
        ),
    ],
)
def test_an_eviction_says_whose_limit_it_was(message: str, remedy: str) -> None:
    (end,) = observing.pod(phase="Failed", reason="Evicted", message=message).ends
    assert (end.reason, end.remedy.startswith(remedy), end.is_final) == ("Evicted", True, False)


@pytest.mark.parametrize("reason", ["StartError", "ContainerCannotRun"])
def test_a_program_that_cannot_be_started_is_no_failure_without_a_remedy(reason: str) -> None:
    text = 'failed to create containerd task: exec: "python": executable file not found in $PATH: unknown'
    ended = {"exitCode": 128, "reason": reason, "message": text}
    pod = observing.pod(phase="Failed", containerStatuses=[{"name": "main", "state": {"terminated": ended}}])
    (end,) = pod.ends
    assert end.reason == "ProgramNotStarted"
    assert end.sentence == (
        f"The runtime could not start its program: {text}. Its image has no such program, or "
        f"is for other CPUs: "
        "correct the operator's images"
    )


def test_an_eviction_is_the_cause_though_a_peer_lost_it_first() -> None:
    lost = Termination(exit_code=11, reason="CommunicationFailed", message="a peer is gone")
    evicted = observing.pod(phase="Failed", reason="Evicted", message="low on memory")
    cause = cause_of((lost, *evicted.ends))
    assert cause is not None
    assert cause.reason == "Evicted"


def test_a_container_that_the_kernel_killed_is_the_cause_though_its_peers_ended_first() -> None:
    def ended(code: int, reason: str, second: int) -> dict[str, Any]:
        moment = f"2026-01-01T00:00:{second:02}Z"
        terminated = {"exitCode": code, "reason": reason, "message": "", "finishedAt": moment}
        return {
            "phase": "Failed",
            "containerStatuses": [{"name": "main", "state": {"terminated": terminated}}],
        }

    pods = [observing.pod(**ended(11, "Error", 1)), observing.pod(**ended(137, "OOMKilled", 2))]
    cause = cause_of(tuple(end for pod in pods for end in pod.ends))
    assert cause is not None
    assert cause.reason == "OutOfHostMemory"
    assert cause.sentence.startswith(
        "The kernel killed it (OOMKilled): it took more host memory than its limit"
    )
