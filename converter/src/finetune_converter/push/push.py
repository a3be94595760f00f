"""`finetune-convert push`: a merged model to hf://, s3:// or oci://."""

import json
import logging
from collections.abc import Iterator
from enum import StrEnum
from functools import partial
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from finetune_converter.failure import Failure, Reason
from finetune_converter.files.digest import FileDigest, digest_file
from finetune_converter.model_files.manifest import NAME, SIGNATURE, listed_files, read_manifest
from finetune_converter.push import image, modelpack
from finetune_converter.push.bucket import push_bucket
from finetune_converter.push.registry import Reference, Registry

logger = logging.getLogger(__name__)


class OciFormat(StrEnum):
    """`export.push.format` of the run file."""

    IMAGE = "image"
    MODELPACK = "modelpack"


def push_model(model: Path, to: str, kind: OciFormat = OciFormat.IMAGE) -> str:
    """Send every file of a merged folder; where it now is. `kind` is of oci:// alone. Raises Failure."""
    # MANIFEST.json last: a place that has it has everything.
    names = [*_listed(model), *([SIGNATURE] if (model / SIGNATURE).is_file() else []), NAME]
    scheme, _, rest = to.partition("://")
    if kind is not OciFormat.IMAGE and scheme != "oci":
        raise Failure(
            f"--format: {kind} is for oci:// alone, not {to}", Reason.SETTING_INVALID, "Leave it out"
        )
    match scheme:
        case "oci":
            return _push_oci(model, names, Reference.parse(rest), kind)
        case "hf":
            return _push_hub(model, names, rest)
        case "s3":
            return push_bucket(model, names, rest)
    raise Failure(
        f"--to: {to} begins with none of oci://, s3:// and hf://",
        Reason.SETTING_INVALID,
        "Give oci://host/repository:tag, s3://bucket/prefix or hf://owner/name",
    )


def _listed(model: Path) -> Iterator[str]:
    """The manifest's files, each of the size that it says."""
    for name, digest in listed_files(model).items():
        path = model / name
        if Path(name).name != name or not path.is_file() or path.stat().st_size != digest.size:
            raise Failure(
                f"{path}: not the file that {NAME} lists",
                Reason.VERIFICATION_FAILED,
                "Merge and verify again",
            )
        yield name


def _push_oci(model: Path, names: list[str], reference: Reference, kind: OciFormat) -> str:
    """As an image, or as ModelPack's artifact; the manifest last, so that no tag lacks a layer."""
    listed, lineage = listed_files(model), read_manifest(model)["lineage"]
    annotations = {
        "org.opencontainers.image.base.name": str(lineage["base"]["uri"]),
        "dev.finetune.adapter.sha256": str(lineage["adapterSha256"]),
    }
    is_image = kind is OciFormat.IMAGE
    layers: dict[str, image.Blob] = {}
    with Registry(reference) as registry:
        for name in names:
            file = model / name
            found = listed.get(name)
            layers[name] = image.layer_of(file) if is_image else _blob_of(found or digest_file(file))
            chunks = image.layer_chunks if is_image else modelpack.file_chunks
            sent = registry.put_blob(layers[name], partial(chunks, file))
            logger.info("%s: %s", name, "sent" if sent else "is there already")
        if is_image:
            config = image.config_of([*layers.values()])
            manifest = image.manifest_of(config, layers, annotations)
        else:
            config = modelpack.config_of(model, lineage, layers)
            manifest = modelpack.manifest_of(config, layers, annotations)
        registry.put_blob(image.Blob(digest=image.digest_of(config), size=len(config)), lambda: [config])
        registry.put_manifest(manifest)
    return f"{reference.host}/{reference.repository}@{image.digest_of(manifest)}"


def _blob_of(digest: FileDigest) -> image.Blob:
    return image.Blob(digest=f"sha256:{digest.sha256}", size=digest.size)


def _push_hub(model: Path, names: list[str], repository: str) -> str:
    """The hub's own client sends large files in parts and skips those that are there."""
    api = HfApi()
    base = json.dumps(read_manifest(model)["lineage"]["base"]["uri"])
    try:
        api.create_repo(repository, private=True, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=model,
            allow_patterns=names,
            commit_message=f"Merged model of {base}",
        )
    except HFValidationError as error:
        raise Failure(
            f"--to: hf://{repository}: {error}", Reason.SETTING_INVALID, "Give hf://owner/name"
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        if status in (401, 403):
            raise Failure(
                f"hf://{repository}: may not be written ({status})", Reason.PUSH_FORBIDDEN, "Give HF_TOKEN"
            ) from error
        raise Failure(
            f"hf://{repository}: {error}", Reason.PUSH_FAILED, "Run the same command again"
        ) from error
    return str(commit.commit_url)
