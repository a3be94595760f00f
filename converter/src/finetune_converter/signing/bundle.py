"""OpenSSF Model Signing v1.0: an in-toto statement of files in a DSSE envelope in a Sigstore bundle.

https://github.com/ossf/model-signing-spec; https://github.com/secure-systems-lab/dsse/blob/master/protocol.md.
docs/adr/0015 says why it is written here, and tests have the reference implementation read it and write it.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from finetune_converter.signing.keys import algorithm

_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_IN_TOTO = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"


class BundleError(Exception):
    """What is wrong with a signature, without the name of its file."""


def statement_of(digests: Mapping[str, str], ignored: str) -> bytes:
    """The statement of a folder's files: sha256 in hex by name. `ignored`: the signature's own file."""
    resources = [{"name": name, "algorithm": "sha256", "digest": digests[name]} for name in sorted(digests)]
    root = hashlib.sha256(b"".join(bytes.fromhex(digests[name]) for name in sorted(digests))).hexdigest()
    serialization = {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
        "ignore_paths": [ignored],
    }
    statement = {
        "_type": _STATEMENT,
        "subject": [{"name": "model", "digest": {"sha256": root}}],
        "predicateType": _PREDICATE,
        "predicate": {"serialization": serialization, "resources": resources},
    }
    return json.dumps(statement).encode()


def signed_bundle(statement: bytes, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    """The bundle of a statement, signed."""
    public = key.public_key()
    signature = key.sign(_encoded(_IN_TOTO, statement), algorithm(public))
    return {
        "mediaType": _BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": hint_of(public)}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": _base64(statement),
            "payloadType": _IN_TOTO,
            "signatures": [{"sig": _base64(signature), "keyid": ""}],
        },
    }


def digests_of(bundle: Mapping[str, Any], key: ec.EllipticCurvePublicKey | None) -> dict[str, str]:
    """The sha256 of each file that a bundle signed with `key`, or any, speaks of. Raises BundleError."""
    try:
        return _resources(json.loads(_payload(bundle, key)))
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise BundleError("is no signature in OpenSSF Model Signing's format") from error


def hint_of(key: ec.EllipticCurvePublicKey) -> str:
    """By which a bundle says which key it was signed with."""
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def _payload(bundle: Mapping[str, Any], key: ec.EllipticCurvePublicKey | None) -> bytes:
    """Of a bundle, and with `key` a verified one. Raises BundleError, or what parsing raises."""
    envelope = bundle["dsseEnvelope"]
    if bundle["mediaType"] != _BUNDLE or envelope["payloadType"] != _IN_TOTO:
        raise BundleError(f"is a {bundle['mediaType']!r:.100}, not a bundle of an in-toto statement")
    try:
        payload = base64.b64decode(envelope["payload"], validate=True)
        signature = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
        if key is not None:
            key.verify(signature, _encoded(_IN_TOTO, payload), algorithm(key))
    except binascii.Error as error:
        raise BundleError("is cut off or changed: it is no base64") from error
    except InvalidSignature as error:
        named = (bundle.get("verificationMaterial") or {}).get("publicKey", {}).get("hint")
        other = key is not None and named and named != hint_of(key)
        raise BundleError(
            "was made with another key" if other else "was changed since it was made"
        ) from error
    return payload


def _resources(statement: Mapping[str, Any]) -> dict[str, str]:
    if statement["_type"] != _STATEMENT or statement["predicateType"] != _PREDICATE:
        raise BundleError(f"signs a {statement['predicateType']!r:.100}, not a model")
    found = statement["predicate"]["resources"]
    digests = {resource["name"]: resource["digest"] for resource in found}
    if any(resource["algorithm"] != "sha256" for resource in found) or len(digests) != len(found):
        raise BundleError("is not of the sha256 of each file")
    return digests


def _encoded(kind: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
