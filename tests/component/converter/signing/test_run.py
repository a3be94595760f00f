"""The verify stage of a run signs what it has passed, before it publishes it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from finetune_converter.failure import Failure
from finetune_converter.merge.stage import merge_run
from finetune_converter.signing.model_signature import KEY_VARIABLE, check_signature
from finetune_converter.verify.listing import check_listing
from finetune_converter.verify.stage import verify_folders, verify_run

RUN = Path(__file__).parents[3] / "golden/run/quickstart.json"


def test_a_signed_run(
    base: Path, adapter: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = json.loads(RUN.read_text())
    document["export"]["sign"] = True
    file = tmp_path / "run.json"
    file.write_text(json.dumps(document))
    run, home = tmp_path / document["paths"]["run"], tmp_path / document["paths"]["base"]
    run.mkdir(parents=True)
    adapter().rename(run / "adapter")
    (base / ".finetune-complete.json").write_text('{"files": {}}')
    home.parent.mkdir()
    base.rename(home)
    (tmp_path / "datasets").mkdir()
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
    verify_folders(base=home, adapter=run / "adapter", merged=run / "merged", dtype="base")
