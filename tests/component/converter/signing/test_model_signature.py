"""Signatures of ours and of the reference implementation's, each read by the other; and what is none."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from model_signing import signing as reference_signing
from model_signing import verifying as reference_verifying

from finetune_converter import cli
from finetune_converter.failure import Failure, Reason
from finetune_converter.files.digest import digest_file
from finetune_converter.model_files.manifest import Lineage, write_manifest
from finetune_converter.signing.model_signature import KEY_VARIABLE, PUBLIC_KEY_VARIABLE, key_of_the_run

CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "merged"
    folder.mkdir()
    files = {"config.json": "{}", "model.safetensors": "weights", "tokenizer.json": "{}"}
    for name, text in files.items():
        (folder / name).write_text(text)
    lineage = Lineage(
        base="b", base_revision=None, base_marker_sha256=None, adapter_sha256="a", dtype="bfloat16"
    )
    write_manifest(folder, lineage, "inputs", {name: digest_file(folder / name) for name in files})
    return folder


def write_keys(folder: Path, key: object, password: bytes | None = None) -> tuple[Path, Path]:
    """PEM files of a private key and of its public half."""
    folder.mkdir(exist_ok=True)
    private, public = folder / "key.pem", folder / "key.pub"
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))  # type: ignore[attr-defined]
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))  # type: ignore[attr-defined]
    return private, public


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return write_keys(tmp_path / "keys", ec.generate_private_key(ec.SECP256R1()))


def run(*words: object) -> str:
    return CliRunner().invoke(cli.convert, [str(word) for word in words], catch_exceptions=False).output


@pytest.mark.parametrize("curve", CURVES)
def test_the_reference_implementation_verifies_ours(model: Path, tmp_path: Path, curve: str) -> None:
    private, public = write_keys(tmp_path / "keys", ec.generate_private_key(CURVES[curve]))
    assert run("sign", model, "--private-key", private) == f"{model / 'model.sig'}\n"
    said = run("check", model, "--public-key", public)
    assert said == f"{model}: its 3 files are those of MANIFEST.json, signed with the key of {public}\n"
    verifier = reference_verifying.Config().use_elliptic_key_verifier(public_key=public)
    verifier.verify(model, model / "model.sig")
    (model / "config.json").write_text('{"changed": 1}')
    with pytest.raises(ValueError, match=r"config\.json"):
        verifier.verify(model, model / "model.sig")


@pytest.mark.parametrize("curve", CURVES)
def test_ours_verifies_the_reference_implementation_s(model: Path, tmp_path: Path, curve: str) -> None:
    private, public = write_keys(tmp_path / "keys", ec.generate_private_key(CURVES[curve]))
    signer = reference_signing.Config().use_elliptic_key_signer(private_key=private)
    signer.sign(model, model / "model.sig")
    assert "signed with the key of" in run("check", model, "--public-key", public)


def change_a_file(model: Path) -> None:
    (model / "model.safetensors").write_text("Weights")


def change_a_file_and_the_manifest(model: Path) -> None:
    content = json.loads((model / "MANIFEST.json").read_text())
    change_a_file(model)
    digest = digest_file(model / "model.safetensors")
    content["files"]["model.safetensors"] = {"sha256": digest.sha256, "size": digest.size}
    (model / "MANIFEST.json").write_text(json.dumps(content))


def change_the_lineage(model: Path) -> None:
    content = json.loads((model / "MANIFEST.json").read_text())
    content["lineage"]["base"]["uri"] = "another"
    (model / "MANIFEST.json").write_text(json.dumps(content))


def add_a_listed_file(model: Path) -> None:
    content = json.loads((model / "MANIFEST.json").read_text())
    (model / "extra.json").write_text("{}")
    digest = digest_file(model / "extra.json")
    content["files"]["extra.json"] = {"sha256": digest.sha256, "size": digest.size}
    (model / "MANIFEST.json").write_text(json.dumps(content))


def add_a_file(model: Path) -> None:
    (model / "extra.json").write_text("{}")


def edit_signature(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def edit(model: Path) -> None:
        content = json.loads((model / "model.sig").read_text())
        change(content)
        (model / "model.sig").write_text(json.dumps(content))

    return edit


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(
            lambda m: (m / "model.sig").unlink(), "no such file: the model is not signed", id="none"
        ),
        pytest.param(change_a_file, "sha256 is not the one in MANIFEST.json", id="a file"),
        pytest.param(change_a_file_and_the_manifest, "is not the file that was signed", id="file, MANIFEST"),
        pytest.param(change_the_lineage, "MANIFEST.json: is not the file that was signed", id="lineage"),
        pytest.param(add_a_listed_file, "extra.json: is not signed, and in MANIFEST", id="a listed file"),
        pytest.param(add_a_file, "extra.json: is not in MANIFEST.json", id="a file too many"),
        pytest.param(lambda m: (m / "model.sig").write_text("{}"), "no signature in OpenSSF", id="empty"),
        pytest.param(lambda m: (m / "model.sig").write_text("-"), "not JSON", id="no JSON"),
        pytest.param(lambda m: (m / "model.sig").write_text("[1]"), "not a JSON object", id="a list"),
        pytest.param(
            edit_signature(lambda s: s["dsseEnvelope"].update(payload="e30=")),  # type: ignore[attr-defined]
            "was changed since it was made",
            id="another payload",
        ),
        pytest.param(
            edit_signature(lambda s: s["dsseEnvelope"].update(payload="*")),  # type: ignore[attr-defined]
            "no base64",
            id="no base64",
        ),
        pytest.param(
            edit_signature(lambda s: s["dsseEnvelope"].update(signatures=[])),  # type: ignore[attr-defined]
            "no signature in OpenSSF",
            id="no signatures",
        ),
        pytest.param(
            edit_signature(lambda s: s.update(mediaType="application/json")), "not a bundle", id="media type"
        ),
        pytest.param(
            edit_signature(lambda s: s.update(verificationMaterial=None)),
            None,
            id="the hint is no part of the proof",
        ),
    ],
)
def test_what_was_changed_since(
    model: Path, keys: tuple[Path, Path], change: Callable[[Path], None], says: str | None
) -> None:
    run("sign", model, "--private-key", keys[0])
    change(model)
    if says is None:
        assert "signed with" in run("check", model, "--public-key", keys[1])
        return
    with pytest.raises(Failure, match=says) as failure:
        run("check", model, "--public-key", keys[1])
    assert failure.value.reason is Reason.VERIFICATION_FAILED
    assert "\n" not in str(failure.value)


def test_another_key(model: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    run("sign", model, "--private-key", keys[0])
    for curve in CURVES.values():
        _, other = write_keys(tmp_path / "other", ec.generate_private_key(curve))
        with pytest.raises(Failure, match=r"model\.sig: was made with another key"):
            run("check", model, "--public-key", other)


@pytest.mark.parametrize(
    ("make", "password", "says"),
    [
        pytest.param(
            ed25519.Ed25519PrivateKey.generate, None, "is an Ed25519 key, not a key on", id="Ed25519"
        ),
        pytest.param(lambda: rsa.generate_private_key(65537, 2048), None, "is an RSA key, not", id="RSA"),
        pytest.param(lambda: ec.generate_private_key(ec.SECP256K1()), None, "is on secp256k1, not", id="k1"),
        pytest.param(
            lambda: ec.generate_private_key(ec.SECP256R1()), b"secret", "is encrypted", id="passphrase"
        ),
    ],
)
def test_keys_that_are_refused(
    model: Path, tmp_path: Path, make: Callable[[], object], password: bytes | None, says: str
) -> None:
    private, public = write_keys(tmp_path / "keys", make(), password)
    refused(says, "sign", model, "--private-key", private)
    if password is None:
        run_signed = write_keys(tmp_path / "good", ec.generate_private_key(ec.SECP256R1()))[0]
        run("sign", model, "--private-key", run_signed)
        refused(says, "check", model, "--public-key", public)


def test_files_that_are_no_keys(model: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    refused("is no private key in PEM", "sign", model, "--private-key", tmp_path / "text")
    refused("is no key in PEM", "sign", model, "--private-key", tmp_path / "bytes")
    refused("is a public key", "sign", model, "--private-key", keys[1])
    refused("cannot be read", "sign", model, "--private-key", tmp_path / "none")
    run("sign", model, "--private-key", keys[0])
    refused("is no public key in PEM", "check", model, "--public-key", tmp_path / "text")
    refused("is a private key", "check", model, "--public-key", keys[0])


def refused(says: str, *words: object) -> None:
    with pytest.raises(Failure, match=says) as failure:
        run(*words)
    assert failure.value.reason is Reason.SETTING_INVALID
    assert "BEGIN" not in str(failure.value)


def test_a_folder_that_is_not_what_it_lists_is_not_signed(model: Path, keys: tuple[Path, Path]) -> None:
    change_a_file(model)
    with pytest.raises(Failure, match="sha256 is not the one in"):
        run("sign", model, "--private-key", keys[0])
    assert not (model / "model.sig").exists()


def test_the_key_of_a_server(
    model: Path, keys: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the step before a server has it: in a variable."""
    monkeypatch.delenv(PUBLIC_KEY_VARIABLE, raising=False)
    refused(r"MODEL_PUBLIC_KEY \(model\.verifySignature.* is not set", "check", model, "--signed")
    monkeypatch.setenv(PUBLIC_KEY_VARIABLE, keys[1].read_text())
    with pytest.raises(Failure, match="the model is not signed"):
        run("check", model, "--signed")
    run("sign", model, "--private-key", keys[0])
    assert "signed with the key of $MODEL_PUBLIC_KEY" in run("check", model, "--signed")
    _, other = write_keys(tmp_path / "other", ec.generate_private_key(ec.SECP256R1()))
    monkeypatch.setenv(PUBLIC_KEY_VARIABLE, other.read_text())
    with pytest.raises(Failure, match="was made with another key"):
        run("check", model, "--signed")


def test_the_key_of_a_run(monkeypatch: pytest.MonkeyPatch, keys: tuple[Path, Path]) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with pytest.raises(Failure, match=r"MODEL_SIGNING_KEY \(export\.signing\.keySecretRef\) is not set"):
        key_of_the_run()
    monkeypatch.setenv(KEY_VARIABLE, keys[0].read_text())
    assert key_of_the_run().curve.name == "secp256r1"
