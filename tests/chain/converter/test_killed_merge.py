"""A merge killed at any instant, and started again, is the merge that nobody disturbed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from bare_deepseek import bare_config, bare_tensors
from safetensors.torch import save_file
from waiting import HANG_SECONDS, until

pytestmark = pytest.mark.chain
KILLS = 50
RANK = 8

# One process imports torch once and then merges in forked children: a kill costs the merge, not the import.
DRIVER = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.merge.stage import merge_folders

torch.set_num_threads(1)
root, kills = Path(sys.argv[1]), int(sys.argv[2])

def child():
    process = os.fork()
    if process == 0:
        merge_folders(base=root / "base", adapter=root / "adapter", out=out, dtype=Dtype.FLOAT8, workers=2)
        os._exit(0)
    return process

def timed():
    begin = time.monotonic()
    assert os.waitpid(child(), 0)[1] == 0
    return time.monotonic() - begin

out = root / "whole"
seconds = timed()
out, dice, killed, finished = root / "killed", random.Random(1), 0, 0
while killed < kills:
    process = child()
    time.sleep(dice.uniform(0, 0.6 * seconds))
    os.kill(process, signal.SIGKILL)
    ended_by_itself = os.WIFEXITED(os.waitpid(process, 0)[1])
    killed += not ended_by_itself
    if out.exists():
        assert (out / "MANIFEST.json").is_file()
        out.rename(root / f"killed-{finished}")
        finished += 1
out.exists() or timed()
out.rename(root / f"killed-{finished}")
print(killed, finished + 1)
"""


def write_model(root: Path, *, layers: int, hidden: int) -> None:
    """A bf16 file of one o_proj for each layer, and an adapter of all."""
    torch.manual_seed(0)
    base, adapter = root / "base", root / "adapter"
    base.mkdir()
    adapter.mkdir()
    config = bare_config(layers=layers, hidden=hidden)
    (base / "config.json").write_text(json.dumps(config))
    rest = bare_tensors(config)
    save_file(rest, base / "model-rest.safetensors")
    weight_map, updates = dict.fromkeys(rest, "model-rest.safetensors"), {}
    for layer in range(layers):
        name, file = f"model.layers.{layer}.self_attn.o_proj", f"model-{layer}.safetensors"
        save_file({f"{name}.weight": torch.randn(hidden, hidden).bfloat16()}, base / file)
        weight_map[f"{name}.weight"] = file
        updates[f"base_model.model.{name}.lora_A.weight"] = torch.randn(RANK, hidden)
        updates[f"base_model.model.{name}.lora_B.weight"] = torch.randn(hidden, RANK)
    save_file(updates, adapter / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK, "target_modules": ["o_proj"]}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    (base / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def files(folder: Path) -> Any:
    return json.loads((folder / "MANIFEST.json").read_text())["files"]


def test_killed_at_fifty_instants(tmp_path: Path) -> None:
    write_model(tmp_path, layers=6, hidden=1024)
    command = [sys.executable, "-c", DRIVER, str(tmp_path), str(KILLS)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    killed, finished = map(int, run.stdout.split())
    assert killed == KILLS
    expected = files(tmp_path / "whole")
    assert finished >= 1
    assert all(files(tmp_path / f"killed-{index}") == expected for index in range(finished))


def test_sigterm_ends_with_the_contracts_code(tmp_path: Path) -> None:
    write_model(tmp_path, layers=48, hidden=2048)
    log = tmp_path / "termination-log"
    code = "from finetune_converter.cli import main; main()"
    # As the container's entry point does; one worker, so that the signal finds files left to write.
    arguments = ["--dtype", "float8", "--workers", "1"]
    arguments += [f"--{name}={tmp_path / name}" for name in ("base", "adapter", "out")]
    process = subprocess.Popen(
        [sys.executable, "-c", code, "merge", *arguments],
        env={**os.environ, "FINETUNE_TERMINATION_LOG": str(log)},
        stderr=subprocess.PIPE,
        text=True,
    )
    records = tmp_path / "out.merging" / ".done"
    until("a record", lambda: process.poll() is not None or any(records.glob("*.json")))
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 143, errors
    assert json.loads(log.read_text())["reason"] == "Stopped"
    assert not (tmp_path / "out").exists()
    assert any(records.glob("*.json"))
