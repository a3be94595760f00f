"""Pods with containers that are not ours: injected by a mesh or a webhook, or added by podOverrides."""

from typing import Any

import pytest

from finetune_operator.core.conditions import parse_timestamp
from finetune_operator.core.observed.pod import observe_pod
from finetune_operator.core.wait_reason import WaitReason
from finetune_operator.core.waiting import Wait

SINCE = "2026-01-01T00:00:00Z"


def wait(reason: WaitReason, text: str = "", since: str | None = SINCE) -> Wait:
    return Wait(reason=reason, name="pod", text=text, since=parse_timestamp(since) if since else None)


def status(name: str, code: int | None = None, message: str = "", reason: str = "Error") -> dict[str, Any]:
    """Return a container's status: it runs, or it has ended."""
    terminated = {"exitCode": code, "reason": reason, "message": message, "finishedAt": SINCE}
    return {"name": name, "state": {"running": {}} if code is None else {"terminated": terminated}}


def others(phase: str, *containers: dict[str, Any], init: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    """Return a pod of a Job into which a mesh has injected a native sidecar, if it is called so."""
    native = [{"name": each["name"]} | NATIVE for each in init if each["name"] == "native"]
    spec = {"restartPolicy": "Never", "initContainers": native}
    conditions = {"phase": phase, "initContainerStatuses": list(init), "containerStatuses": list(containers)}
    metadata = {"name": "pod", "namespace": "ml"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": conditions}


NATIVE = {"restartPolicy": "Always"}
ISTIO = "The container istio-proxy, which is not the operator's, failed its pod with exit code 2: bad config"
INIT = "The container istio-init, which is not the operator's, failed its pod with exit code 3"


@pytest.mark.parametrize(
    ("pod", "ends"),
    [
        pytest.param(others("Succeeded", status("main", 0)), [], id="done"),
        pytest.param(
            others("Failed", status("istio-proxy", 2, "bad config"), status("main", 11, "no peer")),
            [("CommunicationFailed", "no peer", False)],
            id="a sidecar ended with the code of a wrong configuration, and ours with its own",
        ),
        pytest.param(
            others("Failed", status("main", 3, "line 4"), status("istio-proxy", 0)),
            [("DataInvalid", "line 4", True)],
            id="a sidecar that ended well",
        ),
        pytest.param(
            others("Failed", status("main", 0, "told"), status("istio-proxy", 2, "bad config")),
            [("OtherContainerFailed", ISTIO, False)],
            id="a sidecar fails a pod whose work is done: it is tried again",
        ),
        pytest.param(
            others("Failed", init=(status("istio-init", 3),)),
            [("OtherContainerFailed", INIT, False)],
            id="an injected init container fails before ours starts",
        ),
        pytest.param(
            others("Succeeded", status("main", 0), init=(status("native", 137),)),
            [],
            id="a native sidecar that was killed after the end",
        ),
        pytest.param(
            others("Failed", status("main", 11, "no peer"), init=(status("native", 2),)),
            [("CommunicationFailed", "no peer", False)],
            id="a native sidecar beside a failure of ours",
        ),
        pytest.param(
            others("Failed", status("main", 137, reason="OOMKilled"), status("istio-proxy", 1)),
            [("OutOfHostMemory", None, False)],
            id="the kernel killed ours",
        ),
        pytest.param(
            others("Running", status("main"), status("istio-proxy", 2, "bad config")),
            [],
            id="a sidecar that has ended while ours runs",
        ),
    ],
)
def test_only_our_containers_speak_for_the_stage(
    pod: dict[str, Any], ends: list[tuple[str, str | None, bool]]
) -> None:
    seen = observe_pod(pod).ends
    assert [(end.reason, end.is_final) for end in seen] == [(reason, final) for reason, _, final in ends]
    assert all(said in (None, end.message) for end, (_, said, _) in zip(seen, ends, strict=True))


def test_a_result_and_restarts_are_of_our_containers() -> None:
    told = others(
        "Succeeded",
        status("vault", 0, "unsealed") | {"restartCount": 7},
        status("main", 0, "told") | {"restartCount": 1},
        init=(status("istio-init", 0, "rules") | {"restartCount": 2},),
    )
    seen = observe_pod(told)
    assert (seen.result, seen.restarts, seen.ends_before) == ("told", 1, ())


CRASHES = {"name": "istio-proxy", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}


@pytest.mark.parametrize(
    ("pod", "said"),
    [
        pytest.param(others("Running", status("main"), status("istio-proxy")), None, id="both run"),
        pytest.param(
            others("Running", status("main", 0), status("istio-proxy"), status("vault")),
            wait(WaitReason.SIDECAR, "istio-proxy, vault"),
            id="sidecars that go on when the work is done",
        ),
        pytest.param(
            others("Running", status("main", 11), status("istio-proxy")),
            wait(WaitReason.SIDECAR, "istio-proxy"),
            id="or has failed",
        ),
        pytest.param(
            others("Running", status("main", 0), init=(status("native"),)), None, id="a native one ends too"
        ),
        pytest.param(
            others("Running", status("main"), CRASHES), None, id="one that crashes beside work that goes on"
        ),
        pytest.param(
            others("Running", status("server"), CRASHES) | {"spec": {"restartPolicy": "Always"}},
            wait(WaitReason.OTHER_CONTAINER, "istio-proxy, CrashLoopBackOff", None),
            id="one that keeps a server from being ready",
        ),
    ],
)
def test_what_others_containers_hold_up(pod: dict[str, Any], said: Wait | None) -> None:
    assert observe_pod(pod).waiting == said
