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
        pytest.param("ImageInspectError: ", WaitReason.IMAGE, id="the image cannot be read"),
        pytest.param("ErrImageNeverPull: not present", WaitReason.IMAGE, id="never pulled"),
        pytest.param("RegistryUnavailable: x", WaitReason.IMAGE, id="no registry"),
        pytest.param("SignatureValidationFailed: x", WaitReason.IMAGE, id="not signed"),
        pytest.param(
            'ErrImagePull: failed to pull and unpack image "trainer:1": write '
            "/var/lib/containerd/x: no space "
            "left on device",
            WaitReason.DISK,
            id="the node's disk is full",
        ),
        pytest.param(
            "CreateContainerConfigError: container has runAsNonRoot and image will run as root (pod: "
            '"faq_ml(1)", container: fetch)',
            WaitReason.RUNS_AS_ROOT,
            id="root",
        ),
        pytest.param(
            "CreateContainerConfigError: container has runAsNonRoot and image has non-numeric user (app), "
            "cannot verify user is non-root",
            WaitReason.RUNS_AS_ROOT,
            id="a user by name",
        ),
        pytest.param(
            'CreateContainerConfigError: failed to prepare subPath for volumeMount "data" of '
            'container "main"',
            WaitReason.SUB_PATH,
            id="no such path in the volume",
        ),
        pytest.param(
            "CreateContainerConfigError: failed to sync secret cache: timed out waiting for the condition",
            WaitReason.NODE_API,
            id="the kubelet cannot ask for the Secret",
        ),
        pytest.param(
            'CreateContainerConfigError: configmap "a" not found', WaitReason.CONFIGURATION, id="no ConfigMap"
        ),
        pytest.param(
            "RunContainerError: failed to create containerd task: failed to create shim task: OCI "
            "runtime create "
            'failed: runc create failed: exec: "python": executable file not found in $PATH',
            WaitReason.PROGRAM,
            id="no such program",
        ),
        pytest.param(
            "RunContainerError: exec /opt/venv/bin/python: exec format error",
            WaitReason.PROGRAM,
            id="other CPUs",
        ),
        pytest.param("PostStartHookError: x", WaitReason.CONTAINER, id="a hook"),
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
        pytest.param(
            "FailedCreatePodSandBox: Failed to create pod sandbox: failed to pull image "
            '"registry.k8s.io/pause:3.9": dial tcp: i/o timeout',
            WaitReason.SANDBOX,
            id="no pause image",
        ),
        pytest.param(
            'FailedCreatePodSandBox: plugin type="aws-cni" failed (add): add cmd: failed to '
            "assign an IP address "
            "to container",
            WaitReason.SANDBOX,
            id="no addresses left",
        ),
        pytest.param(
            "FailedSync: error determining status: rpc error: code = Unavailable desc = "
            "connection error: dial "
            "unix /run/containerd/containerd.sock: connect: connection refused",
            WaitReason.SANDBOX,
            id="no container runtime",
        ),
        pytest.param(
            'FailedMount: MountVolume.SetUp failed for volume "host" : hostPath type check '
            "failed: /data is not "
            "a directory",
            WaitReason.HOST_PATH,
            id="no such path on the node",
        ),
        pytest.param(
            'FailedMount: MountVolume.SetUp failed for volume "run" : failed to sync configmap '
            "cache: timed out "
            "waiting for the condition",
            WaitReason.NODE_API,
            id="the kubelet cannot ask for the ConfigMap",
        ),
        pytest.param(
            'FailedMount: MountVolume.SetUp failed for volume "run" : object "ml"/"faq-run" not registered',
            WaitReason.MOUNT_SOURCE,
            id="not registered",
        ),
        pytest.param(
            "FailedMount: Unable to attach or mount volumes: unmounted volumes=[volume], "
            "unattached volumes=[], "
            "failed to process volumes=[]: timed out waiting for the condition",
            WaitReason.NOT_MOUNTED,
            id="it takes too long",
        ),
        pytest.param(
            "FailedMount: kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: driver name "
            "efs.csi.aws.com not found in the list of registered CSI drivers",
            WaitReason.NOT_MOUNTED,
            id="no driver on the node",
        ),
        pytest.param(
            'FailedAttachVolume: AttachVolume.Attach failed for volume "pvc-1" : rpc error: code '
            "= NotFound desc "
            '= Volume "vol-0" not found',
            WaitReason.CLAIM_LOST,
            id="the volume is gone",
        ),
        pytest.param(
            "FailedPrepareDynamicResources: Failed to prepare dynamic resources: driver gpu.nvidia.com",
            WaitReason.DEVICES,
            id="devices",
        ),
        pytest.param("NodeNotReady: Node is not ready", WaitReason.NODE_LOST, id="the node is lost"),
        pytest.param('Pulling: Pulling image "trainer:1"', WaitReason.CREATING, id="a long pull"),
        pytest.param("", WaitReason.CREATING, id="nobody says why"),
    ],
)
def test_pods_that_their_node_does_not_start(text: str, reason: WaitReason) -> None:
    late = Wait(reason=WaitReason.CREATING, name="pod", since=SINCE)
    assert explained(late, text) == starting("pod", text, SINCE)
    assert starting("pod", text, SINCE) == Wait(reason=reason, name="pod", text=text, since=SINCE)


def test_an_init_container_that_goes_on_is_said_by_its_name_whatever_events_say() -> None:
    late = Wait(reason=WaitReason.INITIALIZING, name="pod", text="fetch", since=SINCE)
    assert explained(late, "Started: Started container fetch") == late


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
