"""What a valid manifest may not mean: said, and not refused."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from finetune_operator.api.lora import LoraSpec, unserved_message

# ORG/NAME, as on the hub, and no file. Folders of a volume have such names, too: these are none of an ORG.
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FOLDERS = re.compile(r"(base|model|checkpoint|weight|data|dataset|adapter|run|hub|cache)s?/")
_FILE = re.compile(r"\.(jsonl?|parquet|csv|txt|gz|zst)$")

_IMAGE_VOLUMES = "is for Kubernetes 1.36 or newer, or the feature gate ImageVolume; others leave it out"
_GROUPS_POLICY = "is for Kubernetes 1.33 or newer; others leave it out"


def suggestions(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each field of a valid object that may be meant otherwise, or is not everywhere."""
    yield from _not_everywhere(manifest["spec"])
    if manifest["kind"] != "FineTuneJob":
        if manifest["spec"].get("model", {}).get("uri", "").startswith("oci://"):
            yield f"spec.model.uri: an image in a volume's place {_IMAGE_VOLUMES}"
        return
    for field, uri in _uris(manifest["spec"]):
        if _REPOSITORY.fullmatch(uri) and not _FOLDERS.match(uri.lower()) and not _FILE.search(uri):
            yield f"spec.{field}: {uri} is a folder in the volume; for the hub's write hf://{uri}"
    lora = LoraSpec.model_validate(manifest["spec"].get("lora", {}))
    if manifest["spec"].get("export", {}).get("adapterOnly") and lora.unserved_targets:
        yield f"spec.lora.targets: {unserved_message(lora.unserved_targets)}"


def _not_everywhere(spec: Mapping[str, Any], path: str = "spec") -> Iterator[str]:
    """Yield what not every Kubernetes that is supported has: its API server drops it in silence."""
    for name, value in spec.items():
        here = f"{path}.{name}"
        if name == "volumes":
            for number, volume in enumerate(value):
                if "image" in volume:
                    yield f"{here}[{number}].image: {_IMAGE_VOLUMES}"
        elif name in ("securityContext", "containerSecurityContext") and "supplementalGroupsPolicy" in value:
            yield f"{here}.supplementalGroupsPolicy: {_GROUPS_POLICY}"
        elif isinstance(value, dict):
            yield from _not_everywhere(value, here)


def _uris(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield where a job's sources are, by the fields that say it."""
    yield "model.uri", spec["model"]["uri"]
    if "uri" in spec["dataset"]:
        yield "dataset.uri", spec["dataset"]["uri"]
    for number, source in enumerate(spec["dataset"].get("sources", [])):
        yield f"dataset.sources[{number}].uri", source["uri"]
