"""Elliptic-curve keys in PEM: the ones that OpenSSF Model Signing takes."""

from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from finetune_converter.failure import Failure, Reason

_HASHES: dict[str, Callable[[], hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}
_MAKE = "Make one: openssl ecparam -name prime256v1 -genkey -noout -out key.pem"
_PUBLIC = "Give the public key: openssl ec -in key.pem -pubout -out key.pub"
_MAX_BYTES = 64 * 1024


def algorithm(key: ec.EllipticCurvePublicKey) -> ec.ECDSA:
    """ECDSA with the hash that belongs to the curve, as Sigstore's key details have it."""
    return ec.ECDSA(_HASHES[key.curve.name]())


def private_key(pem: str, where: str) -> ec.EllipticCurvePrivateKey:
    """`where` names it in a Failure(SettingInvalid), which never holds any of it."""
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except TypeError as error:
        raise _invalid(
            where, "is encrypted", "Give it without a passphrase, in a Secret of its own"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        is_public = "PUBLIC KEY" in pem
        raise _invalid(
            where, "is a public key" if is_public else "is no private key in PEM", _MAKE
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _HASHES:
        raise _invalid(where, f"is {_kind(key)}, not a key on P-256, P-384 or P-521", _MAKE)
    return key


def public_key(pem: str, where: str) -> ec.EllipticCurvePublicKey:
    """`where` names it in a Failure(SettingInvalid)."""
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        what = "is a private key" if "PRIVATE KEY" in pem else "is no public key in PEM"
        raise _invalid(where, what, _PUBLIC) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
        raise _invalid(where, f"is {_kind(key)}, not a key on P-256, P-384 or P-521", _PUBLIC)
    return key


def read_pem(file: Path, where: str) -> str:
    """The text of a key's file. Raises Failure(SettingInvalid)."""
    try:
        with file.open("rb") as stream:
            return stream.read(_MAX_BYTES).decode("ascii")
    except OSError as error:
        raise _invalid(where, f"cannot be read ({error.strerror})", "Check the path") from error
    except UnicodeDecodeError as error:
        raise _invalid(where, "is no key in PEM", _MAKE) from error


def _kind(key: object) -> str:
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        return f"on {key.curve.name}"
    name = type(key).__name__.lower()
    known = {"rsa": "RSA", "ed25519": "Ed25519", "ed448": "Ed448", "dsa": "DSA", "x25519": "X25519"}
    return next((f"an {text} key" for part, text in known.items() if part in name), "another key")


def _invalid(where: str, fault: str, remedy: str) -> Failure:
    return Failure(f"{where} {fault}", Reason.SETTING_INVALID, remedy)
