"""What is said of a pod that has a node: by the kubelet's own words."""

from datetime import UTC, datetime

import pytest

from finetune_operator.core.wait_reason import WaitReason
from finetune_operator.core.waiting import Wait, container_waits, explained, starting

SINCE = datetime(2026, 1, 1, tzinfo=UTC)


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
