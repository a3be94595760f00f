"""A base in the volume: accepted whole, refused with the file and the cause otherwise."""

import json
import os
import shutil

import pytest
from damaged_bases import SHARD

from finetune_trainer.__main__ import main
from finetune_trainer.contract.failure import DataError
from finetune_trainer.prepare.marker import MARKER, read_marker, require_complete

TOLD = {
    "vocab_size": 4096,
    "num_hidden_layers": 4,
    "first_k_dense_replace": 1,
    "q_lora_rank": 128,
    "n_routed_experts": 8,
    "has_expert_bias": True,
    "num_nextn_predict_layers": 0,
    "max_position_embeddings": 16384,
    "dtype": "bfloat16",
}


def termination(volume):
    return json.loads((volume.root.parent / "termination-log").read_text())


def test_a_whole_base_is_marked_and_the_data_reported(volume, copy_base, checksum):
    base = copy_base()
    assert main(["prepare", *volume.arguments]) == 0
    marker = read_marker(base)
    assert marker.files[SHARD].sha256 == checksum(base / SHARD)
    assert set(marker.files) == {file.name for file in base.iterdir()} - {MARKER}
    prepared = json.loads((volume.run / "prepared.json").read_text())
    assert prepared["base"]["source"] == "models/tiny-base"
    source = {"source": "datasets/faq.jsonl", "revision": None}
    record = {"size": volume.dataset.stat().st_size, "sha256": checksum(volume.dataset)}
    record["modified"] = volume.dataset.stat().st_mtime_ns
    assert prepared["dataset"] == {"sources": [source], "files": {"datasets/faq.jsonl": record}}
    assert prepared["parity"]["comparedWith"] == "DeepseekV3ForCausalLM"
    report = json.loads((volume.run / "data-report.json").read_text())
    assert [file["rows"] for file in report.pop("byFile")] == [3]
    assert [example["place"] for example in report.pop("examples")] == [f"faq.jsonl:{n}" for n in (1, 2, 3)]
    own = {"split": "train", "files": ["faq.jsonl"], "documents": 3, "trainedTokens": 6}
    assert report.pop("sources") == [source | own | {"share": 1.0, "epochPasses": 1.0}]
    assert report == {
        "schemaVersion": 1,
        "lines": 3,
        "documents": 3,
        "tokens": 21,
        "trainedTokens": 6,
        "longestDocument": 7,
        "sequences": 1,
        "packedShare": 18 / 256,
        "epochSteps": 1,
        "lastStepSequences": 1,
        "sequenceLength": 256,
        "batchSequences": 8,
        "steps": 200,
        "validationDocuments": 0,
        "truncatedLines": 0,
        "tokensCut": 0,
        "dropped": {},
        "firstDropped": {},
    }


def test_what_is_prepared_is_left_alone(volume, copy_base):
    base = copy_base()
    assert main(["prepare", *volume.arguments]) == 0
    before = {file: file.stat().st_mtime_ns for file in [base / MARKER, *volume.run.rglob("*.*")]}
    os.utime(volume.dataset)  # the same content, copied again
    assert main(["prepare", *volume.arguments]) == 0
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_a_changed_base_is_checked_again(volume, copy_base):
    base = copy_base()
    assert main(["prepare", *volume.arguments]) == 0
    os.truncate(base / SHARD, 1000)
    assert main(["prepare", *volume.arguments]) == 3
    assert not (base / MARKER).exists()


def test_a_snapshot_of_links_is_a_base(volume, pristine_base, tmp_path):
    blobs = tmp_path / "blobs"
    shutil.copytree(pristine_base, blobs)
    volume.base.mkdir(parents=True)
    for file in blobs.iterdir():
        (volume.base / file.name).symlink_to(os.path.relpath(file, volume.base))
    assert main(["prepare", *volume.arguments]) == 0


def test_a_name_on_the_hub_is_suggested(volume):
    volume.document["model"]["uri"] = "deepseek-ai/DeepSeek-V3"
    volume.document["paths"]["base"] = "deepseek-ai/DeepSeek-V3"
    assert main(["prepare", *volume.arguments]) == 3
    assert "write hf://deepseek-ai/DeepSeek-V3" in termination(volume)["remedy"]


def test_the_flavor_that_fits_is_named(volume, copy_base):
    copy_base()
    volume.document["flavor"] = "deepseek_aghilora"
    assert main(["prepare", *volume.arguments]) == 2
    assert termination(volume)["remedy"] == "Use flavor auto or tiny_lora"


def test_a_run_without_a_flavor_takes_the_base_s_shape_and_tells_it(volume, copy_base):
    copy_base()
    del volume.document["flavor"]
    assert main(["prepare", *volume.arguments]) == 0
    assert json.loads((volume.run / "prepared.json").read_text())["parity"]["layers"] == 4
    told = termination(volume)["architecture"]
    assert {**TOLD, **told} == told
    (volume.root.parent / "termination-log").unlink()
    assert main(["prepare", *volume.arguments]) == 0
    assert termination(volume)["architecture"] == told


def test_a_run_without_a_flavor_is_checked_by_its_base(volume, copy_base):
    base = copy_base()
    del volume.document["flavor"]
    volume.document["training"]["sequenceLength"] = 20_000
    assert main(["prepare", *volume.arguments]) == 2
    assert "more than the 16,384 positions that the base knows" in termination(volume)["message"]
    (base / "config.json").write_text(json.dumps({"model_type": "deepseek_v32"}))
    assert main(["prepare", *volume.arguments]) == 3
    assert "DeepSeek-V3.2: its attention reads" in termination(volume)["message"]


def test_pickled_weights_are_not_weights(volume, copy_base):
    base = copy_base()
    for file in [*base.glob("*.safetensors"), base / "model.safetensors.index.json"]:
        file.unlink()
    (base / "pytorch_model.bin").write_bytes(b"pickle")
    assert main(["prepare", *volume.arguments]) == 3
    assert "weights in pickle" in termination(volume)["message"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda document: document["lora"].update(targets=["nothing"]), "nothing", id="target"),
        pytest.param(
            lambda document: document["training"].update(overrides={"no.such": 1}), "no.such", id="override"
        ),
        pytest.param(
            lambda document: document.update(flavor="405B"), "flavor: 405B does not exist", id="flavor"
        ),
        pytest.param(
            lambda document: document["model"].update(uri="gs://a/b"),
            "model.uri: gs://a/b is neither",
            id="uri",
        ),
        pytest.param(
            lambda document: document["model"].update(uri="hf://a"), "has not the form", id="hub-uri"
        ),
    ],
)
def test_a_wrong_configuration_is_told_before_anything_is_read(volume, change, message):
    change(volume.document)
    assert main(["prepare", *volume.arguments]) == 2
    assert message in termination(volume)["message"]


def test_training_refuses_a_base_without_its_marker(volume, copy_base):
    copy_base()
    assert main(["train", *volume.arguments]) == 3
    assert termination(volume)["reason"] == "BaseIncomplete"
    assert MARKER in termination(volume)["message"]


def test_training_refuses_a_run_that_is_not_prepared(volume, copy_base):
    copy_base()
    assert main(["prepare", *volume.arguments]) == 0
    (volume.run / "prepared.json").unlink()
    assert main(["train", *volume.arguments]) == 3
    assert "has not been prepared" in termination(volume)["message"]


def test_a_file_that_is_gone_since_is_named(volume, copy_base):
    base = copy_base()
    assert main(["prepare", *volume.arguments]) == 0
    (base / SHARD).unlink()
    with pytest.raises(DataError, match=SHARD):
        require_complete(base)


def test_a_damaged_marker_is_none(tmp_path):
    (tmp_path / MARKER).write_text('{"files": []}')
    assert read_marker(tmp_path) is None
