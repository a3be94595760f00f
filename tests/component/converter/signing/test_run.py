"""The verify stage of a run signs what it has passed, before it publishes it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from converter_run import prepared_run
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from small_deepseek import load_json

from finetune_converter.failure import Failure
from finetune_converter.merge.stage import merge_run
from finetune_converter.signing.model_signature import KEY_VARIABLE, check_signature
from finetune_converter.verify.listing import check_listing
from finetune_converter.verify.stage import verify_folders, verify_run


def test_a_signed_run(
    base: Path, adapter: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, run = prepared_run(tmp_path, base, adapter(), sign=True)
    merge_run(file, tmp_path)
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with pytest.raises(Failure, match="MODEL_SIGNING_KEY"):
        verify_run(file, tmp_path)
    assert not (run / "merged").exists()
    key = ec.generate_private_key(ec.SECP384R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    monkeypatch.setenv(KEY_VARIABLE, pem.decode())
    verify_run(file, tmp_path)
    check_signature(run / "merged", key.public_key())
    check_listing(run / "merged")
    verify_folders(
        base=tmp_path / load_json(file)["paths"]["base"],
        adapter=run / "adapter",
        merged=run / "merged",
        dtype="base",
    )
