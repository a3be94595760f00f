"""Random preference pairs, the same to this trainer and to TRL's."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from training_run import TrainingRun

from finetune_trainer.contract.run_file import RunFile, RunFolders, load_run
from finetune_trainer.data.packing import Packing, SequenceOrder
from finetune_trainer.data.store import TokenStore
from finetune_trainer.prepare.dataset import tokenize_dataset
from finetune_trainer.prepare.sources import fetch_sources

Row = dict[str, Any]

LENGTH, SEQUENCES, PAIRS = 64, 4, 48
"""Of a sequence, and how many there are in a step; two pairs fit into a sequence."""
TEMPLATE = (
    "{{ bos_token }}"
    "{% for m in messages %}"
    "{% if m.role == 'user' %}{{ ' t3 ' + m.content }}"
    "{% else %}{{ ' t4 ' + m.content + ' ' + eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ ' t4' }}{% endif %}"
)
SETTINGS = {
    "training.method": "dpo",
    "training.sequenceLength": LENGTH,
    "training.microBatchSize": 2,
    "training.globalBatchSize": SEQUENCES,
    "training.learningRate": 2e-3,
    "training.schedule": "constant",
    "training.warmupSteps": 0,
}


def random_rows(count: int = PAIRS) -> list[Row]:
    """Pairs of 23 to 31 positions, of which two and no more fit into a sequence."""
    generator = torch.Generator().manual_seed(3)

    def words(least: int, most: int) -> str:
        size = int(torch.randint(least, most + 1, (1,), generator=generator))
        return " ".join(
            f"t{word}" for word in torch.randint(500, 1000, (size,), generator=generator).tolist()
        )

    return [
        {"prompt": _said("user", words(4, 5)), "chosen": _said("assistant", words(4, 7))}
        | {"rejected": _said("assistant", words(4, 7))}
        for _ in range(count)
    ]


def with_template(base: Path, folder: Path) -> Path:
    """The base in `folder`, with a chat template."""
    shutil.copytree(base, folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config |= {"chat_template": TEMPLATE, "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def prepare(run: TrainingRun, rows: list[Row]) -> None:
    """Tokenize `rows` as the run's dataset."""
    file = run.root / "datasets/faq.jsonl"
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    loaded, folders = _loaded(run)
    tokenize_dataset(loaded, folders, fetch_sources(loaded.dataset, run.root))


def trained_rows(run: TrainingRun, rows: list[Row], steps: int) -> list[Row]:
    """The pairs in the order in which the run has them."""
    loaded, folders = _loaded(run)
    store = TokenStore.load(folders.tokens)
    order = SequenceOrder(Packing.load(folders.tokens / "training"), seed=loaded.training.seed)
    pairs = [order[sequence] for sequence in range(steps * SEQUENCES)]
    assert {len(held) for held in pairs} == {2}
    return [rows[int(store.lines[pair]) - 1] for held in pairs for pair in held]


def _loaded(run: TrainingRun) -> tuple[RunFile, RunFolders]:
    loaded = load_run(run.write())
    return loaded, RunFolders(root=run.root, paths=loaded.paths)


def _said(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]
