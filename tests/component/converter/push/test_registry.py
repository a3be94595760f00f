"""A push to a registry that others wrote: CNCF Distribution, with a login."""

import json
import tarfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from distribution import PASSWORD, USER, running_registry

from finetune_converter.failure import Failure, Reason
from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.push.push import OciFormat, push_model
from finetune_converter.signing.model_signature import check_signature, sign_folder
from finetune_converter.verify.listing import check_listing

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    """A registry that only the user may read and write."""
    with running_registry(tmp_path / "registry") as host:
        yield host


@pytest.fixture
def model(base: Path, adapter: Callable[..., Path]) -> Path:
    merge_folders(base=base, adapter=adapter(), out=base.parent / "out", dtype=Dtype.BASE, workers=1)
    return base.parent / "out"


def log_in(monkeypatch: pytest.MonkeyPatch, host: str, password: str = PASSWORD) -> None:
    login = {"auths": {host: {"username": USER, "password": password}}}
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps(login))


def pulled(host: str, digest: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The manifest of that digest, and its layers' bytes by their digest."""
    with httpx.Client(base_url=f"http://{host}/v2/acme/faq/", auth=(USER, PASSWORD)) as client:
        answer = client.get(f"manifests/{digest}", headers={"Accept": MANIFEST}).raise_for_status()
        assert answer.headers["docker-content-digest"] == digest
        manifest = answer.json()
        named = [layer["digest"] for layer in manifest["layers"]]
        return manifest, {name: client.get(f"blobs/{name}").raise_for_status().content for name in named}


def test_a_modelpack_is_pulled_as_what_was_signed(
    model: Path, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(monkeypatch, host)
    key = ec.generate_private_key(ec.SECP256R1())
    sign_folder(model, key)
    pushed = push_model(model, f"oci://{host}/acme/faq:v1", OciFormat.MODELPACK)
    manifest, blobs = pulled(host, pushed.partition("@")[2])
    (folder := tmp_path / "pulled").mkdir()
    for layer in manifest["layers"]:
        (folder / layer["annotations"]["org.cncf.model.filepath"]).write_bytes(blobs[layer["digest"]])
    check_signature(folder, key.public_key())
    assert check_listing(folder) == check_listing(model)
    assert push_model(model, f"oci://{host}/acme/faq:v1", OciFormat.MODELPACK) == pushed


def test_an_image_is_pulled_as_the_folder(
    model: Path, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(monkeypatch, host)
    pushed = push_model(model, f"oci://{host}/acme/faq:v1", OciFormat.IMAGE)
    for blob in pulled(host, pushed.partition("@")[2])[1].values():
        with tarfile.open(fileobj=BytesIO(blob)) as archive:
            archive.extractall(tmp_path / "mounted", filter="data")
    assert check_listing(tmp_path / "mounted") == check_listing(model)


def test_a_wrong_password_is_said(model: Path, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log_in(monkeypatch, host, "another")
    with pytest.raises(Failure, match=r"may not be written \(401\)") as caught:
        push_model(model, f"oci://{host}/acme/faq:v1", OciFormat.MODELPACK)
    assert caught.value.reason is Reason.PUSH_FORBIDDEN
