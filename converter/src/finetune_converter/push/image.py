"""A model folder as an OCI image: one uncompressed layer a file, which an image volume mounts as it is.

Image volumes (KEP-4639) mount images, whose layers are tar archives, so a file of the model is a tar of one
file (OCI image-spec v1.1). A layer a file: pulls are parallel, and only a changed file is sent again.
"""

import hashlib
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
_CHUNK = 8 * 2**20


@dataclass(frozen=True, kw_only=True)
class Blob:
    digest: str
    size: int


def layer_chunks(file: Path) -> Iterator[bytes]:
    """The tar of one file. Owner and time are left out: the same file is the same layer everywhere."""
    entry = tarfile.TarInfo(file.name)
    entry.size = file.stat().st_size
    yield entry.tobuf(tarfile.GNU_FORMAT)
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk
    yield bytes(-entry.size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)


def layer_of(file: Path) -> Blob:
    digest, size = hashlib.sha256(), 0
    for chunk in layer_chunks(file):
        digest.update(chunk)
        size += len(chunk)
    return Blob(digest=f"sha256:{digest.hexdigest()}", size=size)


def config_of(layers: list[Blob]) -> bytes:
    """The image's config. An uncompressed layer's diff_id is its digest."""
    return encode(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        }
    )


def manifest_of(config: bytes, layers: dict[str, Blob], annotations: dict[str, str]) -> bytes:
    """layers: by the name of their file."""
    return encode(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": _CONFIG_TYPE, "digest": digest_of(config), "size": len(config)},
            "layers": [
                {
                    "mediaType": _LAYER_TYPE,
                    "digest": layer.digest,
                    "size": layer.size,
                    "annotations": {"org.opencontainers.image.title": name},
                }
                for name, layer in layers.items()
            ],
            "annotations": annotations,
        }
    )


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def encode(content: dict[str, Any]) -> bytes:
    """JSON of one form, so that the same content has the same digest."""
    return json.dumps(content, separators=(",", ":"), sort_keys=True).encode()
