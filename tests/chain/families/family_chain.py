"""Every shape of the families at a tiny size, through prepare, train, merge and the gate."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from random_base import write_tokenizer
from random_families import FAMILIES, RandomBase, write_random_base
from waiting import HANG_SECONDS

from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.verify.stage import verify_folders
from finetune_trainer.base.families.guide import SHAPES

GOLDEN = Path(__file__).parents[2] / "golden/run/quickstart.json"
NAMES = SHAPES
STEPS, LENGTH, BATCH, RATE, RANK = 5, 64, 2, 2e-3, 8
# What vLLM decodes on a CPU is latent attention of 512 + 64 numbers a token.
_SERVED = {"num_hidden_layers": 2, "kv_lora_rank": 512, "qk_rope_head_dim": 64, "head_dim": 64}


@dataclass(frozen=True, kw_only=True)
class FamilyChain:
    """A family's base, its run, and the model that came out."""

    base: RandomBase
    root: Path

    @property
    def run(self) -> Path:
        return self.root / self.document["paths"]["run"]

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.root / "run.json").read_text())
        return document

    @property
    def adapter(self) -> Path:
        return self.run / "adapter"

    @property
    def merged(self) -> Path:
        return self.root / "merged"


def run_chains(folder: Path) -> dict[str, FamilyChain]:
    """Each family's chain, through the gate; one process prepares and trains all of them."""
    chains = {name: _described(folder / name, name) for name in NAMES}
    command = [sys.executable, str(Path(__file__).with_name("family_case.py"))]
    done = subprocess.run(
        [*command, *(str(chain.root) for chain in chains.values())],
        env=os.environ | _ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    for chain in chains.values():
        base, merged = chain.base.folder, chain.merged
        merge_folders(base=base, adapter=chain.adapter, out=merged, dtype=Dtype.BASE, workers=1)
        verify_folders(base=base, adapter=chain.adapter, merged=merged, dtype=Dtype.BASE)
    return chains


_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "RANK": "0",
    "LOCAL_RANK": "0",
    "WORLD_SIZE": "1",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "0",
    "FINETUNE_PROGRESS_PORT": "0",
    "FINETUNE_TERMINATION_LOG": "/dev/null",
}


def _described(root: Path, name: str) -> FamilyChain:
    """A volume with a base, a dataset and a run file without a flavor."""
    document = json.loads(GOLDEN.read_text())
    del document["flavor"]
    document["dataset"]["sources"][0]["format"] = "text"
    document["lora"] |= {"rank": RANK, "alpha": 2.0 * RANK, "targets": ["attention"]}
    document["training"] |= {
        "steps": STEPS,
        "sequenceLength": LENGTH,
        "microBatchSize": BATCH,
        "globalBatchSize": BATCH,
        "learningRate": RATE,
        "warmupSteps": 0,
        "schedule": "constant",
        "checkpoint": {"interval": STEPS, "keep": 1},
    }
    document["workers"]["processesPerNode"] = 1
    (root / "datasets").mkdir(parents=True)
    (root / "datasets/faq.jsonl").write_text("".join(f"{json.dumps({'text': text})}\n" for text in _texts()))
    config = FAMILIES[name] | _SERVED
    base = write_random_base(
        root / document["paths"]["base"], config, prediction_layers=int(name == "DeepSeek-V3"), seed=1
    )
    write_tokenizer(base.folder, config["vocab_size"])
    (root / "run.json").write_text(json.dumps(document))
    return FamilyChain(base=base, root=root)


def _texts() -> list[str]:
    """40 documents of 20 to 59 words, some seen again by the last step."""
    return [
        " ".join(f"t{(line * 37 + word * word * 11) % 317 + 3}" for word in range(20 + line))
        for line in range(40)
    ]
