"""What only a cluster has: a server's nodes, canaries, autoscalers; volumes and the like of podOverrides.

One machine leaves them out. Images as models, which it refuses.
"""

from collections.abc import Iterable, Iterator
from copy import deepcopy

from finetune_operator.core.objects import Manifest
from finetune_operator.local.errors import LocalError

_FIELDS = ("volumes", "volumeMounts", "initContainers", "hostNetwork")


def check_models(manifests: Iterable[Manifest]) -> None:
    """Raise LocalError for the first model that only a node of a cluster can mount."""
    for manifest in manifests:
        uri = manifest["spec"].get("model", {}).get("uri", "")
        if manifest["kind"] == "ModelDeployment" and uri.startswith("oci://"):
            raise LocalError(
                f"ModelDeployment {manifest['metadata']['name']}: spec.model.uri is an image for clusters",
                "bring its files into the storage folder, and give their folder there",
            )


def without_what_only_clusters_have(manifest: Manifest) -> tuple[Manifest, list[str]]:
    """Return the manifest as one machine runs it, and the fields that it leaves out, by their paths."""
    manifest, left_out = deepcopy(manifest), list[str]()
    for path, overrides in _overrides(manifest["spec"]):
        left_out += [f"spec.{path}.{field}" for field in _FIELDS if overrides.pop(field, None)]
    for prefix, server in (("", manifest["spec"]), ("deployment.", manifest["spec"].get("deployment") or {})):
        if server.pop("nodes", 1) != 1:
            left_out.append(f"spec.{prefix}nodes")
        if server.pop("autoscaling", None):
            left_out.append(f"spec.{prefix}autoscaling")
        if server.get("rollout", {}).pop("canary", None):
            left_out.append(f"spec.{prefix}rollout.canary")
    return manifest, left_out


def _overrides(spec: Manifest) -> Iterator[tuple[str, Manifest]]:
    """Yield each podOverrides of a spec, with its path."""
    for owner in ("workers", "deployment"):
        if found := (spec.get(owner) or {}).get("podOverrides"):
            yield f"{owner}.podOverrides", found
    if found := spec.get("podOverrides"):
        yield "podOverrides", found
    for stage, found in (spec.get("stageOverrides") or {}).items():
        if found:
            yield f"stageOverrides.{stage}", found
