"""`finetune-convert push`: a merged model to hf://, s3:// or oci://."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from finetune_converter.failure import Failure, Reason
from finetune_converter.model_files.manifest import NAME, listed_files, read_manifest
from finetune_converter.push.bucket import push_bucket
from finetune_converter.push.image import Blob, config_of, digest_of, layer_chunks, layer_of, manifest_of
from finetune_converter.push.registry import Reference, Registry

logger = logging.getLogger(__name__)


def push_model(model: Path, to: str) -> str:
    """Send every file of a merged folder; where it now is. Raises Failure."""
    names = [*_listed(model), NAME]
    scheme, _, rest = to.partition("://")
    match scheme:
        case "oci":
            return _push_image(model, names, Reference.parse(rest))
        case "hf":
            return _push_hub(model, names, rest)
        case "s3":
            return push_bucket(model, names, rest)
    raise Failure(
        Reason.SETTING_INVALID,
        f"--to: {to} begins with none of oci://, s3:// and hf://",
        "Give oci://host/repository:tag, s3://bucket/prefix or hf://owner/name",
    )


def _listed(model: Path) -> Iterator[str]:
    """The manifest's files, each of the size that it says."""
    for name, digest in listed_files(model).items():
        path = model / name
        if Path(name).name != name or not path.is_file() or path.stat().st_size != digest.size:
            raise Failure(
                Reason.VERIFICATION_FAILED,
                f"{path}: not the file that {NAME} lists",
                "Merge and verify again",
            )
        yield name


def _push_image(model: Path, names: list[str], reference: Reference) -> str:
    lineage = read_manifest(model)["lineage"]
    annotations = {
        "org.opencontainers.image.base.name": str(lineage["base"]["uri"]),
        "dev.finetune.adapter.sha256": str(lineage["adapterSha256"]),
    }
    layers: dict[str, Blob] = {}
    with Registry(reference) as registry:
        for name in names:
            layers[name] = layer_of(model / name)
            sent = registry.put_blob(layers[name], lambda name=name: layer_chunks(model / name))  # type: ignore[misc]
            logger.info("%s: %s", name, "sent" if sent else "is there already")
        config = config_of([*layers.values()])
        registry.put_blob(Blob(digest=digest_of(config), size=len(config)), lambda: [config])
        manifest = manifest_of(config, layers, annotations)
        # Last, so that the tag never names an image whose layers are missing.
        registry.put_manifest(manifest)
    return f"{reference.host}/{reference.repository}@{digest_of(manifest)}"


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
            Reason.SETTING_INVALID, f"--to: hf://{repository}: {error}", "Give hf://owner/name"
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        if status in (401, 403):
            raise Failure(
                Reason.PUSH_FORBIDDEN, f"hf://{repository}: may not be written ({status})", "Give HF_TOKEN"
            ) from error
        raise Failure(
            Reason.PUSH_FAILED, f"hf://{repository}: {error}", "Run the same command again"
        ) from error
    return str(commit.commit_url)
