"""Pods as every child has them: restricted, without an API token, and with the user's overrides on top.

https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from finetune_operator.api.container import AddedContainer
from finetune_operator.api.pod_overrides import PodOverrides
from finetune_operator.api.secrets import ConfigMapKeyRef, SecretKeyRef
from finetune_operator.api.variables import PYTHON_PATH
from finetune_operator.core.labels import POD_INDEX
from finetune_operator.core.objects import Manifest, without_empty

VOLUME_ROOT = "/volume"
"""Where the shared volume is mounted, in every container."""

USER = 65532
"""The images' user, as distroless names it: nonroot."""

_POD_SECURITY: Manifest = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    # Without it the kubelet changes the owner of every file of a volume of terabytes, at every start.
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
_CONTAINER_SECURITY: Manifest = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@dataclass(frozen=True, kw_only=True)
class ContainerSpec:
    """The main container of a pod, before the user's overrides."""

    name: str
    image: str
    image_pull_policy: str
    command: tuple[str, ...]
    args: tuple[str, ...] = ()
    env: tuple[Manifest, ...] = ()
    ports: tuple[Manifest, ...] = ()
    requests: Manifest = field(default_factory=dict)
    """What it needs by our arithmetic; what the user's resources say of the same wins."""
    limits: Manifest = field(default_factory=dict)
    mounts: tuple[Manifest, ...] = ()
    added_capabilities: tuple[str, ...] = ()
    hooks: Manifest = field(default_factory=dict)
    """Probes and lifecycle: what the kubelet calls in the container."""
    overridable_resources: bool = True
    """Whether the user's resources are meant for this container."""


def env_var(name: str, value: object) -> Manifest:
    """Return an environment variable with a fixed value."""
    return {"name": name, "value": str(value)}


COMPLETION_INDEX = f"metadata.annotations['{POD_INDEX}']"
"""The field that holds a pod's number in its Indexed Job."""


def env_from_field(name: str, path: str) -> Manifest:
    """Return an environment variable that holds a field of the pod."""
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def env_from_secret(name: str, ref: SecretKeyRef) -> Manifest:
    """Return an environment variable that holds a key of a Secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": ref.name, "key": ref.key}}}


def env_from_config_map(name: str, ref: ConfigMapKeyRef) -> Manifest:
    """Return an environment variable that holds a key of a ConfigMap."""
    return {"name": name, "valueFrom": {"configMapKeyRef": {"name": ref.name, "key": ref.key}}}


def port(name: str, number: int) -> Manifest:
    """Return a container's port."""
    return {"name": name, "containerPort": number, "protocol": "TCP"}


def claim_volume(claim: str, *, read_only: bool = False) -> Manifest:
    """Return the shared volume, under the name that containers mount it by."""
    source: Manifest = {"claimName": claim, **({"readOnly": True} if read_only else {})}
    return {"name": "volume", "persistentVolumeClaim": source}


def image_volume(reference: str, pull_policy: str) -> Manifest:
    """Return an image in the shared volume's place, which is always read-only (KEP-4639)."""
    return {"name": "volume", "image": {"reference": reference, "pullPolicy": pull_policy}}


def claim_mount(*, read_only: bool = False) -> Manifest:
    """Return the mount of the shared volume."""
    return {"name": "volume", "mountPath": VOLUME_ROOT, **({"readOnly": True} if read_only else {})}


# The root file system is read only; caches and compilers' files go to /tmp, shared memory of NCCL and of data
# loaders to /dev/shm, whose default of 64 MiB is too small.
_SCRATCH_VOLUMES: tuple[Manifest, ...] = (
    {"name": "tmp", "emptyDir": {}},
    {"name": "shm", "emptyDir": {"medium": "Memory"}},
)
_SCRATCH_MOUNTS: tuple[Manifest, ...] = (
    {"name": "tmp", "mountPath": "/tmp"},
    {"name": "shm", "mountPath": "/dev/shm"},
)


def build_container(spec: ContainerSpec, overrides: PodOverrides) -> Manifest:
    """Return the container; the user's variables come last, so that they win. Only a PYTHONPATH is joined."""
    resources = overrides.resources.to_dict() if overrides.resources and spec.overridable_resources else {}
    # The builder's own HOME wins.
    env = {variable["name"]: variable for variable in (env_var("HOME", "/tmp"), *spec.env)}
    security = dict(_CONTAINER_SECURITY)
    if spec.added_capabilities:
        security["capabilities"] = {"drop": ["ALL"], "add": list(spec.added_capabilities)}
    container = {
        "name": spec.name,
        "image": spec.image,
        "imagePullPolicy": spec.image_pull_policy,
        "command": list(spec.command),
        "args": list(spec.args),
        "env": _joined(env, overrides),
        # On the node's network they would be the node's: two pods that declare the same could not share one.
        "ports": [] if overrides.host_network else list(spec.ports),
        "resources": without_empty(
            {
                "requests": _requests(spec, resources),
                "limits": {**spec.limits, **resources.get("limits", {})},
            }
        ),
        "volumeMounts": [*spec.mounts, *_SCRATCH_MOUNTS, *(m.to_dict() for m in overrides.volume_mounts)],
        "securityContext": {**security, **(overrides.container_security_context or {})},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **spec.hooks,
    }
    return without_empty(container)


def _joined(ours: Mapping[str, Manifest], overrides: PodOverrides) -> list[Manifest]:
    """Return our variables, then the user's; Python looks for modules in our folders first."""
    theirs = [variable.to_dict() for variable in overrides.env]
    names = {variable["name"] for variable in theirs}
    if PYTHON_PATH in ours:
        own = ours[PYTHON_PATH]["value"]
        paths = {v["name"]: ":".join(filter(None, (own, v.get("value")))) for v in theirs}
        theirs = [{**v, "value": paths[PYTHON_PATH]} if v["name"] == PYTHON_PATH else v for v in theirs]
    return [variable for name, variable in ours.items() if name not in names] + theirs


def _requests(spec: ContainerSpec, given: Manifest) -> Manifest:
    """Return requests; a limit of the user's is a request too, which ours may be above."""
    ours = {name: amount for name, amount in spec.requests.items() if name not in given.get("limits", {})}
    return {**ours, **given.get("requests", {})}


def build_added_container(added: AddedContainer) -> Manifest:
    """Return a container of the user's: restricted as ours are, unless it says otherwise."""
    given = added.to_dict()
    security = {**_CONTAINER_SECURITY, **given.get("securityContext", {})}
    said = {"securityContext": security, "terminationMessagePolicy": "FallbackToLogsOnError"}
    return without_empty({**given, **said})


@dataclass(frozen=True, kw_only=True)
class PodSpec:
    """A pod around its container, before the user's overrides."""

    container: ContainerSpec
    labels: dict[str, str]
    volumes: tuple[Manifest, ...]
    grace_seconds: int
    restart_policy: str | None = None
    priority_class_name: str | None = None
    subdomain: str | None = None
    affinity: Manifest = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    init: tuple[ContainerSpec, ...] = ()
    """Containers that have to end well, one after the other, before it starts."""


def _device_toleration(resource: str) -> Manifest:
    """Return what lets a pod onto nodes that are kept for a device.

    As admission does where it is on:
    https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#extendedresourcetoleration
    """
    return {"key": resource, "operator": "Exists", "effect": "NoSchedule"}


def with_overrides(metadata: Manifest, overrides: PodOverrides) -> Manifest:
    """Return the metadata of what makes pods, with the user's labels and annotations; our labels win."""
    labels = {**overrides.labels, **metadata["labels"]}
    return without_empty({**metadata, "labels": labels, "annotations": {**overrides.annotations}})


def build_pod_template(spec: PodSpec, overrides: PodOverrides) -> Manifest:
    """Return `spec.template` of a Job or a Deployment."""
    given = overrides.to_dict()
    pod = {
        "restartPolicy": spec.restart_policy,
        "serviceAccountName": overrides.service_account_name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {**_POD_SECURITY, **(overrides.security_context or {})},
        "priorityClassName": spec.priority_class_name,
        "schedulerName": overrides.scheduler_name,
        "runtimeClassName": overrides.runtime_class_name,
        "hostNetwork": overrides.host_network or None,
        # On the node's network, names of the cluster resolve only with this policy.
        "dnsPolicy": overrides.dns_policy or ("ClusterFirstWithHostNet" if overrides.host_network else None),
        "dnsConfig": given.get("dnsConfig"),
        "hostAliases": given.get("hostAliases"),
        "nodeSelector": given.get("nodeSelector"),
        "tolerations": [*map(_device_toleration, spec.container.limits), *given.get("tolerations", [])],
        "affinity": {**spec.affinity, **(overrides.affinity or {})},
        "topologySpreadConstraints": given.get("topologySpreadConstraints"),
        "imagePullSecrets": given.get("imagePullSecrets"),
        "subdomain": spec.subdomain,
        "terminationGracePeriodSeconds": spec.grace_seconds,
        "initContainers": [
            *map(build_added_container, overrides.init_containers),
            *(build_container(init, overrides) for init in spec.init),
        ],
        "containers": [build_container(spec.container, overrides)],
    }
    return {
        "metadata": without_empty(
            {
                "labels": {**overrides.labels, **spec.labels},
                "annotations": {**spec.annotations, **overrides.annotations},
            }
        ),
        "spec": {**without_empty(pod), "volumes": [*spec.volumes, *_SCRATCH_VOLUMES, *given["volumes"]]},
    }
