"""model.sig: that the holder of a key vouches for every file of a model folder."""

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from finetune_converter.failure import Failure, Reason
from finetune_converter.files.atomic import write_json
from finetune_converter.files.digest import digest_file
from finetune_converter.files.json_object import read_json_object
from finetune_converter.model_files.manifest import NAME, SIGNATURE, listed_files
from finetune_converter.signing.bundle import BundleError, digests_of, signed_bundle, statement_of
from finetune_converter.signing.keys import private_key, public_key

KEY_VARIABLE = "MODEL_SIGNING_KEY"
"""Holds the private key in PEM, in the verify stage."""

PUBLIC_KEY_VARIABLE = "MODEL_PUBLIC_KEY"
"""Holds the public key in PEM, before a model is served."""

_REMEDY = "Copy the folder again from where it was signed, or sign it again"


def key_of_the_run() -> ec.EllipticCurvePrivateKey:
    """The key that the verify stage signs with. Raises Failure(SettingInvalid)."""
    where = f"${KEY_VARIABLE} (export.signing.keySecretRef)"
    pem = os.environ.get(KEY_VARIABLE, "")
    if not pem.strip():
        raise Failure(f"{where} is not set", Reason.SETTING_INVALID, "Give the private key in PEM")
    return private_key(pem, where)


def key_of_the_server() -> ec.EllipticCurvePublicKey:
    """The key that a model has to be signed with before it is served. Raises Failure(SettingInvalid)."""
    where = f"${PUBLIC_KEY_VARIABLE} (model.verifySignature.publicKeyConfigMapRef)"
    pem = os.environ.get(PUBLIC_KEY_VARIABLE, "")
    if not pem.strip():
        raise Failure(f"{where} is not set", Reason.SETTING_INVALID, "Give the public key in PEM")
    return public_key(pem, where)


def sign_folder(folder: Path, key: ec.EllipticCurvePrivateKey) -> Path:
    """Sign what MANIFEST.json lists, and itself, by the digests in it: they have just been checked."""
    write_json(folder / SIGNATURE, signed_bundle(statement_of(_digests(folder), SIGNATURE), key))
    return folder / SIGNATURE


def check_signature(folder: Path, key: ec.EllipticCurvePublicKey | None) -> None:
    """model.sig is of this key, and of the files in MANIFEST.json and no others.

    Without a key it only has to speak of these files: whose it is stays open. The files themselves are
    `check_listing`'s. Raises Failure(VerificationFailed).
    """
    file = folder / SIGNATURE
    if not file.is_file():
        raise _failed(f"{file}: no such file: the model is not signed", "Sign it: finetune-convert sign")
    bundle = read_json_object(file, Reason.VERIFICATION_FAILED, _REMEDY)
    try:
        signed = digests_of(bundle, key)
    except BundleError as error:
        raise _failed(f"{file}: {error}") from error
    found = _digests(folder)
    for name in sorted(signed.keys() ^ found.keys()):
        raise _failed(
            f"{folder / name}: {'is signed, and not' if name in signed else 'is not signed, and'} in {NAME}"
        )
    for name, digest in found.items():
        if signed[name] != digest:
            raise _failed(f"{folder / name}: is not the file that was signed")


def _digests(folder: Path) -> dict[str, str]:
    """sha256 by name: what MANIFEST.json lists, and MANIFEST.json."""
    listed = {name: digest.sha256 for name, digest in listed_files(folder).items()}
    return {**listed, NAME: digest_file(folder / NAME).sha256}


def _failed(fault: str, remedy: str = _REMEDY) -> Failure:
    return Failure(fault, Reason.VERIFICATION_FAILED, remedy)
