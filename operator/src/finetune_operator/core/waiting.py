"""Waits: which reason Kubernetes' own words are, and the line that a person reads."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from finetune_operator.core.wait_reason import MESSAGES, WaitReason

# Kubernetes' own words; each was read in its source, of 1.37 and of 1.31 where they differ.
_REFUSALS = {
    WaitReason.NAMESPACE_ENDS: r"because it is being terminated",
    WaitReason.QUOTA: r"exceeded quota|insufficient quota|status unknown for quota",
    WaitReason.QUOTA_WANTS_REQUESTS: r"failed quota: .*must specify",
    WaitReason.LIMIT_RANGE: r"(maximum|minimum) \S+ usage per|limit to request ratio|"
    r"must be less than or equal to \S+ limit",
    WaitReason.POD_SECURITY: r"violates PodSecurity",
    WaitReason.SECURITY_CONSTRAINTS: r"unable to validate against any security context constraint",
    WaitReason.PRIORITY_CLASS: r"no PriorityClass with name",
    WaitReason.SERVICE_ACCOUNT: r"error looking up service account",
    WaitReason.RUNTIME_CLASS: r"RuntimeClass .* not found",
    WaitReason.WEBHOOK_DOWN: r"failed calling webhook",
    WaitReason.WEBHOOK: r"admission webhook .* denied|AdmissionPolicy .* denied|"
    r"image policy webhook .* denied",
    WaitReason.CONTROL_PLANE: r"etcdserver|context deadline exceeded|request did not complete within|"
    r"connection refused|TLS handshake timeout|[Tt]oo many requests|the server is currently unable",
}
_SCHEDULING = {
    WaitReason.CLAIM_NOT_FOUND: r'persistentvolumeclaim "[^"]*" not found',
    WaitReason.CLAIM_LOST: r"bound to non-existent (persistentvolume|pv)",
    WaitReason.CLAIM_DELETED: r'persistentvolumeclaim "[^"]*" is being deleted',
    WaitReason.CLAIM_IN_USE: r"ReadWriteOncePod access mode already in-use",
    WaitReason.CLAIM_NOT_BOUND: r"unbound immediate PersistentVolumeClaims|volume node affinity conflict|"
    r"didn't match PersistentVolume's node affinity|node\(s\) didn't find available persistent volumes|"
    r"did not have enough free storage|waiting for ephemeral volume controller",
}
_CONTAINERS = {
    WaitReason.DISK: r"no space left on device",
    WaitReason.IMAGE: r"^(ErrImage|ImagePullBackOff|InvalidImageName|RegistryUnavailable|ImageInspectError|"
    r"SignatureValidationFailed)",
    WaitReason.RUNS_AS_ROOT: r"^CreateContainerConfigError.*(runAsNonRoot|non-root)",
    WaitReason.SUB_PATH: r"^CreateContainerConfigError.*subPath",
    WaitReason.NODE_API: r"^CreateContainerConfigError.*failed to sync \S+ cache",
    WaitReason.CONFIGURATION: r"^CreateContainerConfigError",
    WaitReason.PROGRAM: r"executable file not found|exec format error|exec: .*no such file or directory",
}
_STARTING = {
    WaitReason.ATTACHED_ELSEWHERE: r"Multi-Attach|already (exclusively attached|used by)",
    WaitReason.MOUNT_SOURCE: r"(configmap|secret) \S+ not found|references non-existent|not registered",
    WaitReason.HOST_PATH: r"hostPath type check failed",
    WaitReason.NODE_API: r"failed to sync \S+ cache",
    WaitReason.CLAIM_LOST: r"^FailedAttachVolume.*code = NotFound",
    WaitReason.RUNTIME_HANDLER: r"no runtime for|runtime handler|unknown runtime",
    WaitReason.DEVICES: r"^FailedPrepareDynamicResources",
    WaitReason.DISK: r"no space left on device",
    WaitReason.SANDBOX: r"^(FailedCreatePodSandBox|FailedPodSandBoxStatus|NetworkNotReady|FailedSync)",
    WaitReason.NOT_MOUNTED: r"^(FailedMount|FailedAttachVolume|FailedMapVolume)",
    WaitReason.NODE_LOST: r"^NodeNotReady",
}

# The pod's name is another one at each try: a message that has it would never stay the same.
_CREATING_ONE = re.compile(r'^(?:Error creating: )?(?:pods? "[^"]*" is forbidden: )?')


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """Something that is waited for."""

    reason: WaitReason
    name: str = ""
    """Of the pod, the Job or the claim."""
    text: str = ""
    since: datetime | None = None

    @property
    def sentence(self) -> str:
        """What is wrong, since when, and what to do, in one line."""
        advice = MESSAGES[self.reason]
        what = advice.what.format(name=self.name, text=self.text).rstrip(":. ")
        since = f" (since {self.since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ})" if self.since else ""
        return f"{what}{since}. {advice.remedy}"


def refused_pods(text: str, since: datetime | None, name: str = "") -> Wait:
    """Return the wait of a Job or a Deployment whose pods the API server does not take."""
    reason = _reason_of(text, _REFUSALS, WaitReason.REFUSED)
    return Wait(reason=reason, name=name, text=_CREATING_ONE.sub("", text, count=1), since=since)


def unscheduled(name: str, text: str, since: datetime | None) -> Wait:
    """Return the wait of a pod that a scheduler found no node for."""
    return Wait(
        reason=_reason_of(text, _SCHEDULING, WaitReason.UNSCHEDULABLE), name=name, text=text, since=since
    )


def container_waits(name: str, text: str, since: datetime | None) -> Wait:
    """Return the wait of a pod whose container the kubelet cannot start; `text` begins with its reason."""
    return Wait(reason=_reason_of(text, _CONTAINERS, WaitReason.CONTAINER), name=name, text=text, since=since)


def starting(name: str, text: str, since: datetime | None) -> Wait:
    """Return the wait of a pod that its node does not start; `text` begins with the event's reason."""
    return Wait(reason=_reason_of(text, _STARTING, WaitReason.CREATING), name=name, text=text, since=since)


def _reason_of(text: str, words: dict[WaitReason, str], otherwise: WaitReason) -> WaitReason:
    return next((reason for reason, pattern in words.items() if re.search(pattern, text)), otherwise)


def first_of(waits: Iterable[Wait | None]) -> Wait | None:
    """Return the wait to be said, by the order of the reasons; None when there is none."""
    return min((wait for wait in waits if wait), key=lambda wait: _ORDER[wait.reason], default=None)


def late_after_seconds(wait: Wait) -> float:
    """Return how long such a wait is usual, in seconds."""
    return _USUAL_SECONDS.get(wait.reason, 0.0)


def explained(wait: Wait, said: str) -> Wait:
    """Return the wait of a late object, by what an event says: its reason, a colon and its message."""
    if wait.reason is WaitReason.NO_PODS and said:
        return refused_pods(said.removeprefix("FailedCreate: "), wait.since, wait.name)
    if wait.reason is WaitReason.INITIALIZING:
        return wait  # its status says more than "Started"
    if wait.reason is WaitReason.CREATING:
        return starting(wait.name, said, wait.since)
    return replace(wait, text=said)


_ORDER = {reason: position for position, reason in enumerate(WaitReason)}
_USUAL_SECONDS = {
    WaitReason.NO_PODS: 20.0,
    WaitReason.CLAIM: 30.0,
    WaitReason.NOT_SCHEDULED: 60.0,
    WaitReason.CREATING: 60.0,
    WaitReason.INITIALIZING: 60.0,
    WaitReason.NOT_ENDING: 60.0,
}
