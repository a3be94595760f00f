"""Why something of ours does not run: the reasons, beside what is said of each and what to do."""

from dataclasses import dataclass
from enum import StrEnum


class WaitReason(StrEnum):
    """What is waited for. Of several waits the one that comes first here is said."""

    NOT_ADMITTED = "NotAdmitted"
    PAUSED = "RolloutPaused"
    NAMESPACE_ENDS = "NamespaceTerminating"
    QUOTA = "QuotaExceeded"
    QUOTA_WANTS_REQUESTS = "QuotaWantsRequests"
    LIMIT_RANGE = "LimitRangeViolated"
    POD_SECURITY = "PodSecurityViolated"
    SECURITY_CONSTRAINTS = "SecurityContextConstraintsViolated"
    PRIORITY_CLASS = "PriorityClassNotFound"
    SERVICE_ACCOUNT = "ServiceAccountNotFound"
    RUNTIME_CLASS = "RuntimeClassNotFound"
    WEBHOOK_DOWN = "WebhookNotAnswering"
    WEBHOOK = "WebhookDenied"
    CONTROL_PLANE = "ControlPlaneNotAnswering"
    REFUSED = "PodsRefused"
    NO_PODS = "PodsNotMade"
    CLAIM = "ClaimPending"
    GATED = "SchedulingGated"
    CLAIM_NOT_FOUND = "ClaimNotFound"
    CLAIM_LOST = "ClaimLost"
    CLAIM_DELETED = "ClaimBeingDeleted"
    CLAIM_IN_USE = "ClaimInUse"
    CLAIM_NOT_BOUND = "ClaimNotBound"
    UNSCHEDULABLE = "Unschedulable"
    NOT_SCHEDULED = "NotScheduled"
    IMAGE = "ImageNotPulled"
    DISK = "NodeDiskFull"
    RUNS_AS_ROOT = "ImageRunsAsRoot"
    SUB_PATH = "SubPathNotPrepared"
    CONFIGURATION = "ContainerNotConfigured"
    PROGRAM = "ProgramNotStarted"
    CONTAINER = "ContainerNotStarted"
    ATTACHED_ELSEWHERE = "VolumeAttachedElsewhere"
    MOUNT_SOURCE = "MountSourceNotFound"
    HOST_PATH = "HostPathNotFound"
    NODE_API = "NodeNotReachingAPI"
    NOT_MOUNTED = "VolumeNotMounted"
    RUNTIME_HANDLER = "RuntimeHandlerNotFound"
    DEVICES = "DevicesNotPrepared"
    SANDBOX = "SandboxNotMade"
    INITIALIZING = "InitContainerGoesOn"
    CREATING = "ContainerCreating"
    NODE_LOST = "NodeLost"
    NOT_ENDING = "NotEnding"
    SIDECAR = "SidecarGoesOn"
    OTHER_CONTAINER = "OtherContainerNotRunning"
    EVICTED = "Evicted"

    @property
    def is_before_start(self) -> bool:
        """Whether what waits so has not begun."""
        return self not in _HAS_BEGUN


_HAS_BEGUN = (
    WaitReason.NODE_LOST,
    WaitReason.NOT_ENDING,
    WaitReason.SIDECAR,
    WaitReason.OTHER_CONTAINER,
    WaitReason.EVICTED,
)


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What is said of a reason; {name} is the object's, {text} what the cluster itself says."""

    what: str
    remedy: str


_REFUSED = "its pods are refused: {text}"
_STUCK = "pod {name} is on its node and does not start: {text}"
_AS_ADMINISTRATORS = "it is the node's matter, not this object's: show it to who runs the cluster"

MESSAGES = {
    WaitReason.NOT_ADMITTED: Advice(
        what="the queue has not admitted its Job",
        remedy="`kubectl get workloads` and `kubectl describe workload` say what the queue waits for; "
        "where there is no queue, somebody has suspended the Job: set its spec.suspend to false",
    ),
    WaitReason.PAUSED: Advice(
        what="somebody has paused its Deployment, and nothing of it is rolled out",
        remedy="`kubectl rollout resume deployment`",
    ),
    WaitReason.NAMESPACE_ENDS: Advice(
        what=_REFUSED,
        remedy="The namespace is being deleted, and this object with it: apply it in another namespace",
    ),
    WaitReason.QUOTA: Advice(
        what=_REFUSED,
        remedy="Free what the quota counts, or have it raised: `kubectl describe resourcequota`",
    ),
    WaitReason.QUOTA_WANTS_REQUESTS: Advice(
        what=_REFUSED,
        remedy="The quota counts what the pods do not state: give it in podOverrides.resources, "
        "or have a LimitRange with defaults in the namespace",
    ),
    WaitReason.LIMIT_RANGE: Advice(
        what=_REFUSED,
        remedy="Keep requests and limits in podOverrides.resources within the LimitRange, which "
        "gives limits to "
        "pods that state none, or have it changed: `kubectl describe limitrange`",
    ),
    WaitReason.POD_SECURITY: Advice(
        what=_REFUSED,
        remedy="Take out of podOverrides what it names, or have the namespace labelled for another level",
    ),
    WaitReason.SECURITY_CONSTRAINTS: Advice(
        what=_REFUSED,
        remedy="Take out of podOverrides what it names, or let the pods' service account use constraints "
        "that allow it: `oc adm policy add-scc-to-user`",
    ),
    WaitReason.PRIORITY_CLASS: Advice(
        what=_REFUSED, remedy="Correct scheduling.priorityClassName: `kubectl get priorityclasses`"
    ),
    WaitReason.SERVICE_ACCOUNT: Advice(
        what=_REFUSED,
        remedy="Make the service account, or correct podOverrides.serviceAccountName",
    ),
    WaitReason.RUNTIME_CLASS: Advice(
        what=_REFUSED, remedy="Correct podOverrides.runtimeClassName: `kubectl get runtimeclasses`"
    ),
    WaitReason.WEBHOOK_DOWN: Advice(
        what=_REFUSED,
        remedy="The webhook does not answer, and so no pod is let in: have it mended or taken away",
    ),
    WaitReason.WEBHOOK: Advice(
        what=_REFUSED, remedy="Change what it asks for in podOverrides, or ask who owns that policy"
    ),
    WaitReason.CONTROL_PLANE: Advice(
        what=_REFUSED,
        remedy="The API server or its etcd is overloaded, full or away, and it goes on by itself: "
        "show it to who runs the cluster",
    ),
    WaitReason.REFUSED: Advice(what=_REFUSED, remedy="Change what it names, or ask who runs the cluster"),
    WaitReason.NO_PODS: Advice(
        what="no pod of {name} has been made, and no event says why",
        remedy="See that kube-controller-manager runs, and `kubectl describe` the object",
    ),
    WaitReason.CLAIM: Advice(
        what="claim {name} has no volume: {text}",
        remedy="Correct storage.storageClassName and accessModes, or have the provisioner mended: "
        "`kubectl get storageclasses`",
    ),
    WaitReason.GATED: Advice(
        what="pod {name} is held back from scheduling: {text}",
        remedy="Who put the gates there takes them away: Kueue, by its workload",
    ),
    WaitReason.CLAIM_NOT_FOUND: Advice(
        what="pod {name} is on no node: {text}",
        remedy="Make the claim, or correct storage.claimName",
    ),
    WaitReason.CLAIM_LOST: Advice(
        what="pod {name} cannot have its volume: {text}",
        remedy="The volume behind the claim is gone: bring it back from a snapshot under its name, or name "
        "another claim; what it held is done again",
    ),
    WaitReason.CLAIM_DELETED: Advice(
        what="pod {name} is on no node: {text}",
        remedy="Somebody deleted the claim, and it goes once no pod uses it: name another one, or apply it "
        "again",
    ),
    WaitReason.CLAIM_IN_USE: Advice(
        what="pod {name} is on no node: {text}",
        remedy="A volume of ReadWriteOncePod is one pod's at a time: end the pod that holds it, "
        "or use storage with ReadWriteMany",
    ),
    WaitReason.CLAIM_NOT_BOUND: Advice(
        what="pod {name} is on no node: {text}",
        remedy="`kubectl describe pvc` says why the claim has no volume, or none that its nodes reach",
    ),
    WaitReason.UNSCHEDULABLE: Advice(
        what="pod {name} is on no node: {text}",
        remedy="Wait until room is free, add nodes, or change workers, podOverrides.nodeSelector, "
        "affinity or tolerations",
    ),
    WaitReason.NOT_SCHEDULED: Advice(
        what="no scheduler has looked at pod {name}",
        remedy="Correct podOverrides.schedulerName, or see that this scheduler runs",
    ),
    WaitReason.IMAGE: Advice(
        what="the image of pod {name} is not pulled: {text}",
        remedy="Correct the operator's images, give podOverrides.imagePullSecrets, "
        "or see that the node reaches the registry",
    ),
    WaitReason.DISK: Advice(
        what="the node of pod {name} has no disk left: {text}",
        remedy=f"Images fill it: {_AS_ADMINISTRATORS}; or choose other nodes by podOverrides.nodeSelector",
    ),
    WaitReason.RUNS_AS_ROOT: Advice(
        what="the image of pod {name} is not started: {text}",
        remedy="Set runAsUser in the security context of podOverrides, or take an image whose user is a "
        "number other than 0",
    ),
    WaitReason.SUB_PATH: Advice(
        what="the container of pod {name} does not start: {text}",
        remedy="Correct subPath in podOverrides.volumeMounts, and see that the pods' user may write there",
    ),
    WaitReason.CONFIGURATION: Advice(
        what="pod {name} lacks what its container is given: {text}",
        remedy="Make the Secret or ConfigMap with that key, or correct the field that names it; "
        "the pod goes on by itself",
    ),
    WaitReason.PROGRAM: Advice(
        what="the container of pod {name} does not start: {text}",
        remedy="Its image has no such program, or is for other CPUs: correct the operator's images, "
        "or the container in podOverrides",
    ),
    WaitReason.CONTAINER: Advice(
        what="the container of pod {name} does not start: {text}",
        remedy="`kubectl describe pod` has the events before it",
    ),
    WaitReason.ATTACHED_ELSEWHERE: Advice(
        what=_STUCK,
        remedy="A volume of ReadWriteOnce is on one node at a time: end the pod that holds it, "
        "or use storage with ReadWriteMany",
    ),
    WaitReason.MOUNT_SOURCE: Advice(
        what=_STUCK,
        remedy="Make the Secret or ConfigMap that it names, or correct the field; the pod goes on by itself",
    ),
    WaitReason.HOST_PATH: Advice(
        what=_STUCK,
        remedy="Its node has no such path: correct podOverrides.volumes, or choose nodes that have it",
    ),
    WaitReason.NODE_API: Advice(
        what=_STUCK, remedy=f"Its kubelet does not reach the API server: {_AS_ADMINISTRATORS}"
    ),
    WaitReason.NOT_MOUNTED: Advice(
        what=_STUCK,
        remedy="See that the storage and its CSI driver answer on that node, or delete the pod's node",
    ),
    WaitReason.RUNTIME_HANDLER: Advice(
        what=_STUCK,
        remedy="Nodes of this kind lack that runtime: install it there (NVIDIA's container toolkit), "
        "or choose other nodes by podOverrides.nodeSelector",
    ),
    WaitReason.DEVICES: Advice(
        what=_STUCK, remedy=f"The driver of its devices does not prepare them: {_AS_ADMINISTRATORS}"
    ),
    WaitReason.SANDBOX: Advice(
        what=_STUCK,
        remedy=f"Its node's runtime, network or pause image does not work: {_AS_ADMINISTRATORS}",
    ),
    WaitReason.INITIALIZING: Advice(
        what="pod {name} waits for its init container {text}",
        remedy="`kubectl logs --container` shows what that does; one that never ends is to be mended where "
        "it comes from: podOverrides, or the webhook that injects it",
    ),
    WaitReason.CREATING: Advice(
        what=_STUCK,
        remedy="A first pull of the image takes minutes; if nothing follows, `kubectl describe pod`",
    ),
    WaitReason.NODE_LOST: Advice(
        what="the node of pod {name} does not answer",
        remedy="Bring the node back, or delete it: its pods go with it, and what they did is done again",
    ),
    WaitReason.NOT_ENDING: Advice(
        what="pod {name} should have ended and has not: {text}",
        remedy="Its node or its storage hangs: delete the node, or taint it "
        "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute; only where it is off for sure, "
        "`kubectl delete pod --force`",
    ),
    WaitReason.SIDECAR: Advice(
        what="the work of pod {name} is done, and containers that are not the operator's go on: {text}",
        remedy="Have them injected as native sidecars, or not at all: for Istio "
        "the label sidecar.istio.io/inject: 'false' in podOverrides.labels",
    ),
    WaitReason.OTHER_CONTAINER: Advice(
        what="a container of pod {name} that is not the operator's does not run: {text}",
        remedy="Mend it where it comes from: podOverrides, or the webhook that injects it",
    ),
    WaitReason.EVICTED: Advice(
        what="pod {name} was evicted: {text}",
        remedy="Raise the requests in podOverrides.resources for what the node ran out of, or the limit that "
        "it exceeded",
    ),
}
