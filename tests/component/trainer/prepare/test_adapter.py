"""The adapter that a run starts from: fetched from the hub without pickle, or refused before the base is."""

import json
import re

import pytest
from random_adapter import write_random_adapter

from finetune_trainer.__main__ import main
from finetune_trainer.model.lora.settings import LoRASettings
from finetune_trainer.prepare.marker import MARKER


@pytest.fixture
def adapter(volume, tmp_path) -> dict[str, bytes]:
    """The files of an adapter of attention, of rank 4, on what the run's base is called."""
    volume.document["lora"] |= {"rank": 4, "alpha": 8.0, "targets": ["attention"]}
    folder, settings = tmp_path / "adapter", LoRASettings(rank=4, alpha=8.0)
    write_random_adapter(folder, settings, ["attention"], base=volume.document["model"]["uri"])
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_an_adapter_of_the_hub_is_fetched_without_pickle(volume, copy_base, hub, adapter):
    copy_base()
    volume.write_chats(3)
    hub.add("acme/first", adapter | {"adapter_model.bin": b"pickle", "README.md": b"card"})
    path = "adapters/acme--first@main"
    volume.document["lora"]["from"] = {"uri": "hf://acme/first", "path": path, "revision": None}
    assert main(["prepare", *volume.arguments]) == 0
    assert {file.name for file in (volume.root / path).iterdir()} == adapter.keys()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({}, "lora.from: .*adapters/first: no such folder", id="not there"),
        pytest.param({"r": 8}, "lora.rank: is 4, and r of .* 8. Set lora.rank to 8", id="another rank"),
    ],
)
def test_an_adapter_that_does_not_fit_ends_prepare(volume, copy_base, adapter, capsys, change, said):
    base = copy_base()
    volume.write_chats(3)
    volume.document["lora"]["from"] = {"uri": "adapters/first", "path": "adapters/first", "revision": None}
    if change:
        (volume.root / "adapters/first").mkdir(parents=True)
        adapter["adapter_config.json"] = json.dumps(
            json.loads(adapter["adapter_config.json"]) | change
        ).encode()
        for name, content in adapter.items():
            (volume.root / "adapters/first" / name).write_bytes(content)
    assert main(["prepare", *volume.arguments]) == 3
    told = json.loads((volume.root.parent / "termination-log").read_text())
    assert told["reason"] == "AdapterMismatch"
    assert "Traceback" not in capsys.readouterr().err
    assert not (base / MARKER).exists()
    assert re.search(said, f"{told['message']}. {told['remedy']}")
