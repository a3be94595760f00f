"""A merge in several pods: the local engine runs the converter's own processes side by side."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from bare_deepseek import bare_config, bare_tensors
from safetensors.torch import save_file

from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype
from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.config import Images
from finetune_operator.core.objects import Manifest
from finetune_operator.core.run import build_run_file
from finetune_operator.core.verdict import State
from finetune_operator.local.engine import Engine
from finetune_operator.local.environments import Environment, Environments
from finetune_operator.local.layout import Layout
from finetune_operator.local.runner import Runner

pytestmark = pytest.mark.chain
ROOT = Path(__file__).parents[3]
LAYERS, RANK, HIDDEN = 7, 4, 256

JOB: Manifest = {
    "apiVersion": "finetune.dev/v1alpha1",
    "kind": "FineTuneJob",
    "metadata": {"name": "sharded", "namespace": "default"},
    "spec": {
        "model": {"uri": "models/base"},
        "flavor": "tiny_lora",
        "dataset": {"uri": "datasets/none.jsonl"},
        "training": {"steps": 1},
        "workers": {"device": "cpu"},
        "storage": {"claimName": "shared"},
        "export": {"shards": 3, "verify": False},
    },
}


def write_base(folder: Path) -> None:
    """One bf16 file a layer, with the marker that prepare writes."""
    folder.mkdir(parents=True)
    config = bare_config(layers=LAYERS, hidden=HIDDEN)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / ".finetune-complete.json").write_text("{}")
    weight_map = {}
    for layer in range(LAYERS):
        name, file = f"model.layers.{layer}.self_attn.o_proj.weight", f"model-{layer}.safetensors"
        tensors = {name: torch.randn(HIDDEN, HIDDEN).bfloat16()}
        tensors |= bare_tensors(config) if layer == LAYERS - 1 else {}
        save_file(tensors, folder / file)
        weight_map |= dict.fromkeys(tensors, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def write_adapter(folder: Path) -> None:
    """Of every layer but the last, whose file is carried over."""
    folder.mkdir(parents=True)
    updates = {}
    for layer in range(LAYERS - 1):
        name = f"base_model.model.model.layers.{layer}.self_attn.o_proj"
        updates[f"{name}.lora_A.weight"] = torch.randn(RANK, HIDDEN)
        updates[f"{name}.lora_B.weight"] = torch.randn(HIDDEN, RANK)
    save_file(updates, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK, "target_modules": ["o_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(settings))


@pytest.fixture
def environments(tmp_path: Path) -> Environments:
    """The converter's own environment; preparing and training are done before the test begins."""
    images, done = Images(), tmp_path / "done"
    done.mkdir()
    (done / "python").write_text("#!/bin/sh\n")
    (done / "python").chmod(0o755)
    converter = ROOT / ".envs" / "converter" / "bin"
    return Environments(
        by_image={
            images.trainer: Environment(name="trainer", bin=done, module="none"),
            images.converter: Environment(name="converter", bin=converter, module="finetune_converter"),
        }
    )


def weights(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("*.safetensors")}


def test_three_shards_make_what_one_process_makes(tmp_path: Path, environments: Environments) -> None:
    torch.manual_seed(0)
    storage = tmp_path / "storage"
    job: Any = FineTuneJob.model_validate(JOB)
    run = storage / build_run_file(job).paths.run
    write_base(storage / "models" / "base")
    write_adapter(run / "adapter")

    engine = Engine(Layout(storage=storage), environments)
    engine.apply([JOB])
    verdict = Runner(engine, lambda _parents: None).until_settled()

    assert verdict.state is State.READY, verdict.message
    jobs = {m["metadata"]["labels"]["app.kubernetes.io/component"]: m for m in engine.store.of_kind("Job")}
    assert jobs["merge-shards"]["spec"]["completions"] == 3
    logs = (storage / "logs" / "default").glob("*-merge-shards-0-*.log")
    assert len(list(logs)) == 3
    merge_folders(
        base=storage / "models" / "base",
        adapter=run / "adapter",
        out=tmp_path / "whole",
        dtype=Dtype.BASE,
        workers=1,
    )
    assert len(weights(tmp_path / "whole")) == LAYERS
    assert weights(run / "merged") == weights(tmp_path / "whole")
    listed = {name: file["sha256"] for name, file in manifest_files(run / "merged").items()}
    assert {name: listed[name] for name in weights(run / "merged")} == weights(run / "merged")
    assert not (run / "merging").exists()


def manifest_files(folder: Path) -> dict[str, Any]:
    files: dict[str, Any] = json.loads((folder / "MANIFEST.json").read_text())["files"]
    return files
