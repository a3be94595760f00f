"""README.md of a merged model: what it was made of."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_converter.merge.stage import merge_run
from finetune_converter.model_files.manifest import Lineage
from finetune_converter.model_files.model_card import model_card

RUN = Path(__file__).parents[3] / "golden/run/quickstart.json"


BEST = {"step": 2, "why": "the least validation loss", "validationLoss": 3.5}


@pytest.mark.parametrize(
    ("selection", "exported"),
    [
        pytest.param(BEST, 2, id="the best step"),
        pytest.param(BEST | {"step": 3}, 2, id="a step that was not logged"),
        pytest.param(None, 4, id="of a trainer that does not say"),
    ],
)
def test_of_a_run(
    base: Path, adapter: Callable[..., Path], tmp_path: Path, selection: dict[str, Any] | None, exported: int
) -> None:
    document = json.loads(RUN.read_text())
    document["export"]["verify"] = False
    (tmp_path / "run.json").write_text(json.dumps(document))
    run = tmp_path / document["paths"]["run"]
    run.mkdir(parents=True)
    adapter().rename(run / "adapter")
    (tmp_path / "datasets").mkdir()
    (tmp_path / document["dataset"]["sources"][0]["path"]).write_text("{}\n")
    (base / "README.md").write_text("the base's card")
    (base / ".finetune-complete.json").write_text('{"files": {}}')
    (tmp_path / "models").mkdir()
    base.rename(tmp_path / document["paths"]["base"])
    steps = [{"step": step, "loss": 8.0 / step, "time": 0.0} for step in (1, 2, 4)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps) + '{"step": 5, "lo')
    if selection:
        (run / "selection.json").write_text(json.dumps(selection))
    merge_run(tmp_path / "run.json", tmp_path)
    card = (run / "merged/README.md").read_text()
    assert (run / "merged/BASE_README.md").read_text() == "the base's card"
    manifest = json.loads((run / "merged/MANIFEST.json").read_text())
    assert {"README.md", "BASE_README.md"} <= manifest["files"].keys()
    assert manifest["lineage"]["training"] == [
        steps[0],
        next(step for step in steps if step["step"] == exported),
    ]
    assert manifest["lineage"]["selection"] == selection
    assert manifest["lineage"]["datasetSha256"] in card
    assert manifest["lineage"]["adapterSha256"] in card
    assert "| loss at step 1 | 8 |" in card
    assert f"| loss at step {exported} | {8 / exported:g} |" in card
    told = f"| exported step | {selection['step']}: {selection['why']} |" if selection else "exported step"
    assert (told in card) is (selection is not None)


def test_front_matter_is_yaml() -> None:
    lineage = Lineage(
        base="hf://acme/model: #1",
        base_revision="e8152",
        base_marker_sha256=None,
        adapter_sha256="0" * 64,
        dtype="float8",
    )
    _, front, text = model_card(lineage, "1.0").split("---\n", 2)
    assert yaml.safe_load(front)["base_model"] == "acme/model: #1"
    assert "| base | hf://acme/model: #1 at e8152;" in text
