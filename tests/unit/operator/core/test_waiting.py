"""What is said of a wait: by Kubernetes' own words, and in the guide."""

from datetime import UTC, datetime

import pytest

from finetune_operator.core.wait_reason import MESSAGES, WaitReason
from finetune_operator.core.waiting import (
    Wait,
    first_of,
    refused_pods,
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
        pytest.param(
            "unable to create new content in namespace ml because it is being terminated",
            WaitReason.NAMESPACE_ENDS,
            id="the namespace goes",
        ),
        pytest.param(
            'spec.containers[0].resources.requests: Invalid value: "8": must be less than or equal to cpu '
            "limit of 2",
            WaitReason.LIMIT_RANGE,
            id="a limit range's default limit is below our request",
        ),
        pytest.param(
            "memory max limit to request ratio per Container is 1, but provided ratio is 2.000000",
            WaitReason.LIMIT_RANGE,
            id="limit range of ratios",
        ),
        pytest.param(
            "failed quota: disk: must specify requests.ephemeral-storage for: main",
            WaitReason.QUOTA_WANTS_REQUESTS,
            id="quota of ephemeral storage",
        ),
        pytest.param(
            "exceeded quota: disk, requested: limits.ephemeral-storage=50Gi, used: "
            "limits.ephemeral-storage=0, "
            "limited: limits.ephemeral-storage=10Gi",
            WaitReason.QUOTA,
            id="too much ephemeral storage",
        ),
        pytest.param(
            'unable to validate against any security context constraint: [provider "anyuid": Forbidden: not '
            "usable by user or serviceaccount]",
            WaitReason.SECURITY_CONSTRAINTS,
            id="OpenShift",
        ),
        pytest.param(
            "image policy webhook backend denied one or more images: not signed",
            WaitReason.WEBHOOK,
            id="image policy",
        ),
        pytest.param(
            "MutatingAdmissionPolicy 'labels' with binding 'labels' denied request: no team",
            WaitReason.WEBHOOK,
            id="mutating policy",
        ),
        pytest.param(
            'Internal error occurred: failed calling webhook "a.b.c": failed to call webhook: Post '
            '"https://a.b.svc:443/mutate?timeout=10s": context deadline exceeded',
            WaitReason.WEBHOOK_DOWN,
            id="webhook that takes too long",
        ),
        pytest.param(
            'Internal error occurred: failed calling webhook "a.b.c": failed to call webhook: Post '
            '"https://a.b.svc:443/mutate": tls: failed to verify certificate: x509: certificate has expired',
            WaitReason.WEBHOOK_DOWN,
            id="webhook whose certificate is over",
        ),
        pytest.param(
            "etcdserver: mvcc: database space exceeded", WaitReason.CONTROL_PLANE, id="etcd is full"
        ),
        pytest.param(
            "Timeout: request did not complete within requested timeout - context deadline exceeded",
            WaitReason.CONTROL_PLANE,
            id="the API server is slow",
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
        pytest.param(
            "0/3 nodes are available: 3 node(s) didn't match PersistentVolume's node affinity.",
            WaitReason.CLAIM_NOT_BOUND,
            id="the same, as 1.37 says it",
        ),
        pytest.param(
            "0/3 nodes are available: 3 node(s) did not have enough free storage.",
            WaitReason.CLAIM_NOT_BOUND,
            id="no room for a volume",
        ),
        pytest.param(
            "0/3 nodes are available: waiting for ephemeral volume controller to create the "
            'persistentvolumeclaim "p-cache".',
            WaitReason.CLAIM_NOT_BOUND,
            id="a volume of its own that is not there yet",
        ),
        pytest.param(
            '0/3 nodes are available: persistentvolumeclaim "faq-storage" bound to non-existent '
            'persistentvolume "pvc-1".',
            WaitReason.CLAIM_LOST,
            id="its volume is gone",
        ),
        pytest.param(
            "0/3 nodes are available: 3 node(s) unavailable due to one or more pvc(s) bound to non-existent "
            "pv(s).",
            WaitReason.CLAIM_LOST,
            id="a volume is gone on all nodes",
        ),
        pytest.param(
            '0/3 nodes are available: persistentvolumeclaim "faq-storage" is being deleted.',
            WaitReason.CLAIM_DELETED,
            id="somebody deleted the claim",
        ),
        pytest.param(
            "0/3 nodes are available: 3 node(s) unavailable due to PersistentVolumeClaim with "
            "ReadWriteOncePod "
            "access mode already in-use by another pod.",
            WaitReason.CLAIM_IN_USE,
            id="another pod has the claim alone",
        ),
        pytest.param(
            "0/3 nodes are available: 3 node(s) had untolerated taint {node.kubernetes.io/not-ready: }.",
            WaitReason.UNSCHEDULABLE,
            id="no node is ready",
        ),
        pytest.param(
            "0/3 nodes are available: 3 node(s) exceed max volume count.",
            WaitReason.UNSCHEDULABLE,
            id="volumes",
        ),
    ],
)
def test_pods_without_a_node(text: str, reason: WaitReason) -> None:
    assert unscheduled("pod", text, SINCE) == Wait(reason=reason, name="pod", text=text, since=SINCE)


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
