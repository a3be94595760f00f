"""What is said of a wait: by Kubernetes' own words, and in the guide."""

from datetime import UTC, datetime

import pytest

from finetune_operator.core.wait_reason import MESSAGES, WaitReason
from finetune_operator.core.waiting import (
    Wait,
    container_waits,
    explained,
    first_of,
    refused_pods,
    starting,
    unscheduled,
)

SINCE = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(
            "exceeded quota: gpus, requested: requests.nvidia.com/gpu=8, used: requests.nvidia.com/gpu=0, "
            "limited: requests.nvidia.com/gpu=4",
            WaitReason.QUOTA,
            id="quota",
        ),
        pytest.param("insufficient quota to consume: pods", WaitReason.QUOTA, id="no quota for it at all"),
        pytest.param(
            "failed quota: compute: must specify limits.cpu for: main; limits.memory for: main",
            WaitReason.QUOTA_WANTS_REQUESTS,
            id="quota of limits",
        ),
        pytest.param(
            "maximum memory usage per Container is 8Gi, but limit is 64Gi",
            WaitReason.LIMIT_RANGE,
            id="limit range",
        ),
        pytest.param(
            "[minimum cpu usage per Pod is 1, but request is 500m, maximum cpu usage per Pod is 2]",
            WaitReason.LIMIT_RANGE,
            id="limit range of pods",
        ),
        pytest.param(
            'violates PodSecurity "restricted:latest": host namespaces (hostNetwork=true)',
            WaitReason.POD_SECURITY,
            id="pod security",
        ),
        pytest.param(
            "no PriorityClass with name urgent was found", WaitReason.PRIORITY_CLASS, id="priority class"
        ),
        pytest.param(
            'error looking up service account ml/trainer: serviceaccount "trainer" not found',
            WaitReason.SERVICE_ACCOUNT,
            id="service account",
        ),
        pytest.param(
            'pod rejected: RuntimeClass "nvidia" not found', WaitReason.RUNTIME_CLASS, id="runtime class"
        ),
        pytest.param(
            'admission webhook "validate.kyverno.svc" denied the request: no team label',
            WaitReason.WEBHOOK,
            id="webhook",
        ),
        pytest.param(
            "ValidatingAdmissionPolicy 'images' with binding 'images' denied request: not our registry",
            WaitReason.WEBHOOK,
            id="admission policy",
        ),
        pytest.param(
            'Internal error occurred: failed calling webhook "a.b.c": failed to call webhook: Post '
            '"https://a.b.svc:443/mutate": dial tcp 10.0.0.7:443: connect: connection refused',
            WaitReason.WEBHOOK_DOWN,
            id="webhook that is down",
        ),
        pytest.param("it is Tuesday", WaitReason.REFUSED, id="anything else"),
    ],
)
@pytest.mark.parametrize("before", ["", 'pods "faq-train-0-0-x7k2p" is forbidden: ', "Error creating: "])
def test_pods_that_are_refused(text: str, reason: WaitReason, before: str) -> None:
    expected = Wait(reason=reason, name="faq", text=text, since=SINCE)
    assert refused_pods(f"{before}{text}", SINCE, "faq") == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(
            "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available",
            WaitReason.UNSCHEDULABLE,
            id="no GPUs",
        ),
        pytest.param(
            '0/3 nodes are available: persistentvolumeclaim "absent" not found. not found',
            WaitReason.CLAIM_NOT_FOUND,
            id="no claim",
        ),
        pytest.param(
            "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
            WaitReason.CLAIM_NOT_BOUND,
            id="no volume",
        ),
        pytest.param(
            "0/3 nodes are available: 3 node(s) had volume node affinity conflict.",
            WaitReason.CLAIM_NOT_BOUND,
            id="a volume of another zone",
        ),
    ],
)
def test_pods_without_a_node(text: str, reason: WaitReason) -> None:
    assert unscheduled("pod", text, SINCE) == Wait(reason=reason, name="pod", text=text, since=SINCE)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("ErrImagePull: 403 Forbidden", WaitReason.IMAGE, id="no right to pull"),
        pytest.param("InvalidImageName: a b", WaitReason.IMAGE, id="no name of an image"),
        pytest.param(
            "CreateContainerConfigError: couldn't find key token in Secret ml/hub",
            WaitReason.CONFIGURATION,
            id="no such key",
        ),
        pytest.param("CreateContainerError: context deadline exceeded", WaitReason.CONTAINER, id="other"),
    ],
)
def test_containers_that_wait(text: str, reason: WaitReason) -> None:
    assert container_waits("pod", text, SINCE) == Wait(reason=reason, name="pod", text=text, since=SINCE)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(
            'FailedAttachVolume: Multi-Attach error for volume "pvc-1" Volume is already exclusively '
            "attached to one node and can't be attached to another",
            WaitReason.ATTACHED_ELSEWHERE,
            id="multi-attach",
        ),
        pytest.param(
            'FailedAttachVolume: Waiting for detach for volume "pvc-1" Volume is already used by pod(s) '
            "faq-train-0-0-x7k2p",
            WaitReason.ATTACHED_ELSEWHERE,
            id="multi-attach, as 1.37 says it",
        ),
        pytest.param(
            'FailedMount: MountVolume.SetUp failed for volume "run" : configmap "faq-run" not found',
            WaitReason.MOUNT_SOURCE,
            id="no ConfigMap",
        ),
        pytest.param(
            'FailedMount: MountVolume.SetUp failed for volume "ca" : references non-existent secret key: a',
            WaitReason.MOUNT_SOURCE,
            id="no such key",
        ),
        pytest.param(
            'FailedMount: MountVolume.MountDevice failed for volume "pvc-1" : rpc error: mount.nfs timed out',
            WaitReason.NOT_MOUNTED,
            id="the storage does not answer",
        ),
        pytest.param(
            "FailedCreatePodSandBox: Failed to create pod sandbox: rpc error: code = Unknown desc = failed "
            'to get sandbox runtime: no runtime for "nvidia" is configured',
            WaitReason.RUNTIME_HANDLER,
            id="no runtime handler",
        ),
        pytest.param(
            'FailedCreatePodSandBox: Failed to create pod sandbox: plugin type="multus" failed (add)',
            WaitReason.SANDBOX,
            id="no network",
        ),
        pytest.param('Pulling: Pulling image "trainer:1"', WaitReason.CREATING, id="a long pull"),
        pytest.param("", WaitReason.CREATING, id="nobody says why"),
    ],
)
def test_pods_that_their_node_does_not_start(text: str, reason: WaitReason) -> None:
    late = Wait(reason=WaitReason.CREATING, name="pod", since=SINCE)
    assert explained(late, text) == starting("pod", text, SINCE)
    assert starting("pod", text, SINCE) == Wait(reason=reason, name="pod", text=text, since=SINCE)


def test_what_is_said_first() -> None:
    unbound = unscheduled("pod", "pod has unbound immediate PersistentVolumeClaims", SINCE)
    claim = Wait(reason=WaitReason.CLAIM, name="faq-storage", text="ProvisioningFailed: no such class")
    stuck = Wait(reason=WaitReason.NOT_ENDING, name="old")
    assert first_of((stuck, None, unbound, claim)) == claim
    assert first_of((None, None)) is None


@pytest.mark.parametrize("reason", WaitReason)
@pytest.mark.parametrize("text", ["It says so.", ""])
def test_a_sentence_has_what_since_when_and_what_to_do(reason: WaitReason, text: str) -> None:
    sentence = Wait(reason=reason, name="pod", text=text, since=SINCE).sentence
    assert " (since 2026-01-01T00:00:00Z). " in sentence
    assert sentence.endswith(MESSAGES[reason].remedy)
    assert ".." not in sentence
    assert ":  " not in sentence
