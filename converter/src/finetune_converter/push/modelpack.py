"""A model folder as CNCF ModelPack has it: an OCI artifact whose layers are the files as they are.

https://github.com/modelpack/model-spec: types of specs-go/v1. A layer's digest is its file's sha256, which
MANIFEST.json lists, so that nothing is hashed again, and what a registry holds is what was signed.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from finetune_converter.push.image import MANIFEST_TYPE, Blob, digest_of, encode

_ARTIFACT_TYPE = "application/vnd.cncf.model.manifest.v1+json"
_CONFIG_TYPE = "application/vnd.cncf.model.config.v1+json"
_WEIGHT = "application/vnd.cncf.model.weight.v1.raw"
_WEIGHT_CONFIG = "application/vnd.cncf.model.weight.config.v1.raw"
_DOC = "application/vnd.cncf.model.doc.v1.raw"
_PATH = "org.cncf.model.filepath"
_CHUNK = 8 * 2**20


def file_chunks(file: Path) -> Iterator[bytes]:
    """The file, as it is."""
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def layer_type(name: str) -> str:
    """The media type of a file: weights, what configures them, or what people read."""
    if name.endswith(".safetensors"):
        return _WEIGHT
    stem = name.upper()
    return _DOC if stem.endswith(".MD") or stem.startswith(("LICENSE", "NOTICE")) else _WEIGHT_CONFIG


def config_of(model: Path, lineage: Mapping[str, Any], layers: Mapping[str, Blob]) -> bytes:
    """The artifact's configuration, without times: the same model is the same artifact."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    base = str(lineage["base"]["uri"])
    of_hub = base.removeprefix("hf://") if base.startswith("hf://") else None
    descriptor = {
        "name": base.rstrip("/").rpartition("/")[2] or base,
        "family": config.get("model_type"),
        "sourceURL": f"https://huggingface.co/{of_hub}" if of_hub else None,
        "revision": lineage["base"].get("revision"),
        "description": f"{base} with a LoRA adapter merged into it",
    }
    quantization = (config.get("quantization_config") or {}).get("quant_method")
    technical = {
        "architecture": "transformer",
        "format": "safetensors",
        "precision": config.get("dtype", config.get("torch_dtype")),
        "quantization": quantization,
        "capabilities": {"inputTypes": ["text"], "outputTypes": ["text"]},
    }
    return encode(
        {
            "descriptor": _said(descriptor),
            "config": _said(technical),
            # Of a layer that is no archive, its own digest.
            "modelfs": {"type": "layers", "diffIds": [layer.digest for layer in layers.values()]},
        }
    )


def manifest_of(config: bytes, layers: Mapping[str, Blob], annotations: dict[str, str]) -> bytes:
    """layers: by the name of their file."""
    return encode(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": _ARTIFACT_TYPE,
            "config": {"mediaType": _CONFIG_TYPE, "digest": digest_of(config), "size": len(config)},
            "layers": [
                {
                    "mediaType": layer_type(name),
                    "digest": layer.digest,
                    "size": layer.size,
                    "annotations": {_PATH: name, "org.opencontainers.image.title": name},
                }
                for name, layer in layers.items()
            ],
            "annotations": annotations,
        }
    )


def _said(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
