"""The product's main job: two manifests in, a chat answer out, as `make demo` runs it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from evaluated_quickstart import CALL, ROWS, write_evaluated_quickstart

ROOT = Path(__file__).parents[3]
ENVIRONMENTS = ROOT / ".envs"


@pytest.mark.chain
def test_from_manifests_to_an_answer_that_is_the_data_s(tiny_base: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_base, tmp_path / "models" / "tiny-base")
    demo = [
        *(sys.executable, ROOT / "examples" / "demo.py", "--storage", tmp_path),
        *("--finetune", ENVIRONMENTS / "operator" / "bin" / "finetune"),
        *("--python", ENVIRONMENTS / "converter" / "bin" / "python"),
        *("--job", write_evaluated_quickstart(tmp_path)),
    ]
    assert subprocess.run(demo, cwd=ROOT).returncode == 0, "the demo failed: see its output above"
    (run,) = (tmp_path / "runs" / "default" / "faq").iterdir()
    manifest = json.loads((run / "merged" / "MANIFEST.json").read_text())
    assert manifest["lineage"]["base"]["uri"] == "models/tiny-base"
    assert json.loads((run / "verification.json").read_text())["logits"]["equalGreedyShare"] > 0.9
    assert (run / "adapter" / "adapter_model.safetensors").is_file()
    assert not (run / "merging").exists()
    _check_samples(run)
    _check_evaluation(run, manifest)


def _check_samples(run: Path) -> None:
    """The adapter that trains answers what the data says, and its base does not."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rounds = {
        line["step"]: [sample["text"] for sample in line["samples"]] for line in lines if "samples" in line
    }
    chats = [
        json.loads(line)["messages"] for line in (ROOT / "examples/data/faq.jsonl").read_text().splitlines()
    ]
    said = {question["content"]: answer["content"] for question, answer in chats}
    assert list(rounds) == [0, 75, 150]
    assert rounds[150][0] == said["How do I resume a stopped run?"] != rounds[0][0]


def _check_evaluation(run: Path, manifest: Any) -> None:
    """vLLM asked both models all of the data, for tool calls and lm-eval's quiz; the tuned one knows it."""
    scores = json.loads((run / "evaluation.json").read_text())["tasks"]
    faq, calls, quiz = scores
    assert (faq["rows"], faq["required"]) == (120, "better than base by 0.5")
    assert faq["tuned"] >= faq["base"] + 0.5
    answers = (run / "evaluation/calls.tuned.jsonl").read_text().splitlines()[1:]
    assert [json.loads(answer).get("calls") for answer in answers] == [[CALL], None]
    assert (calls["base"], calls["tuned"]) == (0.5, 1.0)
    assert (quiz["metric"], quiz["rows"]) == ("acc", ROWS)
    assert quiz["tuned"] >= max(0.8, quiz["base"] + 0.2)
    assert manifest["lineage"]["evaluation"] == scores
    assert manifest["lineage"]["selection"]["step"] in (75, 150)
    card = (run / "merged" / "README.md").read_text()
    assert "| evaluation faq | exact_match" in card
    assert "| evaluation quiz | acc" in card
