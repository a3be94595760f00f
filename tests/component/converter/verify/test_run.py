"""The gate of a run: what the folder says of itself is what the run file says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from changed_files import change_lineage
from converter_run import prepared_run
from small_deepseek import load_json

from finetune_converter.failure import Failure
from finetune_converter.merge.stage import merge_run
from finetune_converter.verify.stage import verify_folders, verify_run


def claim_another_base(lineage: dict[str, Any]) -> dict[str, Any]:
    """In both places."""
    model = {**lineage["run"]["model"], "uri": "hf://acme/another"}
    return {"base": {**lineage["base"], "uri": model["uri"]}, "run": {**lineage["run"], "model": model}}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(claim_another_base, "of another run file", id="another base"),
        pytest.param(
            lambda lineage: {"run": {**lineage["run"], "run": "0"}}, "of another run file", id="run"
        ),
        pytest.param(
            lambda lineage: {"base": {**lineage["base"], "uri": "hf://acme/another"}},
            "and its run's is 'models/tiny-base'",
            id="another base than its run's",
        ),
        pytest.param(
            lambda lineage: {"run": {**lineage["run"], "training": {"learningRate": 1.0}}},
            "training.learningRate differs",
            id="another learning rate",
        ),
        pytest.param(lambda _: {"run": None}, "it was not merged in this run", id="no run"),
        pytest.param(
            lambda lineage: {"base": {**lineage["base"], "markerSha256": "0"}}, "markerSha256", id="marker"
        ),
        pytest.param(
            lambda lineage: {"run": {"model": lineage["run"]["model"]}}, "run file", id="less of it"
        ),
    ],
)
def test_lineage(
    base: Path,
    adapter: Callable[..., Path],
    tmp_path: Path,
    change: Callable[[dict[str, Any]], dict[str, Any]],
    says: str,
) -> None:
    file, run = prepared_run(tmp_path, base, adapter())
    merge_run(file, tmp_path)
    change_lineage(run / "merging", **change(load_json(run / "merging/MANIFEST.json")["lineage"]))
    with pytest.raises(Failure, match=says):
        verify_run(file, tmp_path)
    assert not (run / "merged").exists()
    # The merge is made anew, and then passes.
    merge_run(file, tmp_path)
    verify_run(file, tmp_path)
    assert (run / "merged").exists()


def test_what_may_change_of_a_run_may_change_before_the_gate(
    base: Path, adapter: Callable[..., Path], tmp_path: Path
) -> None:
    """Or an operator of another version takes over, whose run file has more or less in it."""
    file, run = prepared_run(tmp_path, base, adapter())
    merge_run(file, tmp_path)
    document = load_json(file)
    document["model"]["verify"] = False
    document["export"] |= {"shards": 3, "push": {"uri": "oci://registry.example/a:b", "format": "image"}}
    document["training"]["newField"] = 1
    del document["training"]["select"]
    file.write_text(json.dumps(document))
    verify_run(file, tmp_path)
    assert (run / "merged").exists()


def test_a_lineage_that_no_card_can_tell(base: Path, adapter: Callable[..., Path], tmp_path: Path) -> None:
    file, run = prepared_run(tmp_path, base, adapter(), verify=False)
    merge_run(file, tmp_path)
    document = json.loads(file.read_text())
    change_lineage(run / "merged", run={"model": document["model"]})
    with pytest.raises(Failure, match="cannot be told in a card"):
        verify_folders(
            base=tmp_path / document["paths"]["base"],
            adapter=run / "adapter",
            merged=run / "merged",
            dtype="base",
        )
