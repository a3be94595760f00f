"""The product's main job: two manifests in, a chat answer out, as `make demo` runs it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ENVIRONMENTS = ROOT / ".envs"


@pytest.mark.chain
def test_from_manifests_to_an_answer_that_is_the_data_s(tiny_base: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_base, tmp_path / "models" / "tiny-base")
    demo = [
        *(sys.executable, ROOT / "examples" / "demo.py", "--storage", tmp_path),
        *("--finetune", ENVIRONMENTS / "operator" / "bin" / "finetune"),
        *("--python", ENVIRONMENTS / "converter" / "bin" / "python"),
    ]
    assert subprocess.run(demo, cwd=ROOT).returncode == 0, "the demo failed: see its output above"
    (run,) = (tmp_path / "runs" / "default" / "faq").iterdir()
    manifest = json.loads((run / "merged" / "MANIFEST.json").read_text())
    assert manifest["lineage"]["base"]["uri"] == "models/tiny-base"
    assert json.loads((run / "verification.json").read_text())["logits"]["equalGreedyShare"] > 0.9
    assert (run / "adapter" / "adapter_model.safetensors").is_file()
    assert not (run / "merging").exists()
