"""How fast prepare reads, renders, tokenizes and packs chats, and in how much memory.

`python bench/prepare_data.py` runs what prepare does with a dataset, on a million short conversations and
on a thousand long ones (`--short N`, `--long N`), each in a process of its own, whose peak memory counts.
`--llama-factory PYTHON` has LLaMA-Factory, installed for that interpreter, tokenize the same files with the
same tokenizer, by one process and by two. CPU seconds are of all processes: they tell more than seconds where
the machine has other work.
"""

import argparse
import dataclasses
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from finetune_trainer.model.flavors import FLAVORS
from report import write_report

GOLDEN = Path(__file__).parents[1] / "tests/golden/run/quickstart.json"
SENTENCE = "The operator watches the job and starts the next stage when the one before it is done. "
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}"
    "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
# Conversations, most turns of one, and sentences of a turn in the middle; their lengths differ.
CASES = {"short": (1_000_000, 2, 4), "long": (1_000, 60, 20)}
SEQUENCE_LENGTH = 16_384


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, (conversations, *_) in CASES.items():
        parser.add_argument(f"--{name}", type=int, default=conversations, help="conversations")
    parser.add_argument("--llama-factory", help="an interpreter that has it")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {"sequenceLength": SEQUENCE_LENGTH}
    for name, (_, *shape) in CASES.items():
        count = getattr(arguments, name)
        with tempfile.TemporaryDirectory() as folder:
            figures[name] = _measure(Path(folder), count, *shape)
            if arguments.llama_factory:
                figures[name]["llamaFactory"] = _beside(arguments.llama_factory, Path(folder), count)
    write_report("prepare-data", figures, packages=("torch", "tokenizers"))


def _measure(root: Path, conversations: int, turns: int, sentences: int) -> dict[str, Any]:
    run = _write_run(root)
    _write_base(root / run["paths"]["base"])
    dataset = root / run["dataset"]["sources"][0]["path"]
    _write_chats(dataset, conversations, turns, sentences)
    command = [sys.executable, str(Path(__file__)), "--measured", str(root / "run.json"), str(root)]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1]
    report, seconds, cpu_seconds, peak = json.loads(told)
    return {
        "conversations": conversations,
        "megabytes": round(dataset.stat().st_size / 1e6),
        "tokens": report["tokens"],
        "truncated": report["truncatedLines"],
        "packedShare": report["packedShare"],
        "seconds": round(seconds, 1),
        "cpuSeconds": round(cpu_seconds, 1),
        "rowsASecond": round(conversations / seconds),
        "rowsACpuSecond": round(conversations / cpu_seconds),
        "tokensASecond": round(report["tokens"] / seconds),
        "peakMemoryMiB": peak,
    }


def _beside(python: str, root: Path, conversations: int) -> dict[str, Any]:
    """LLaMA-Factory on the same file: by processes, rows a second, and peak memory of the largest process."""
    run = json.loads((root / "run.json").read_text())
    base, dataset = root / run["paths"]["base"], root / run["dataset"]["sources"][0]["path"]
    figures: dict[str, Any] = {}
    for processes in (1, 2):
        script = [python, str(Path(__file__).with_name("prepare_data_llama_factory.py"))]
        command = [*script, str(base), str(dataset), str(SEQUENCE_LENGTH), str(processes)]
        told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1]
        measured = json.loads(told)
        figures["version"] = measured.pop("version")
        rate = {
            "rowsASecond": round(conversations / measured["seconds"]),
            "rowsACpuSecond": round(conversations / measured["cpuSeconds"]),
        }
        figures[f"processes{processes}"] = measured | rate
    return figures


def _measured(run_file: Path, root: Path) -> None:
    """In a process of its own: the report, seconds and peak memory, on the last line of stdout."""
    from finetune_trainer.contract.run_file import RunFolders, load_run
    from finetune_trainer.prepare.preview import preview_data

    run = load_run(run_file)
    start, cpu_start = time.perf_counter(), _cpu_seconds()
    report = preview_data(run, RunFolders(root=root, paths=run.paths)).to_json()
    seconds, cpu_seconds = time.perf_counter() - start, _cpu_seconds() - cpu_start
    peak = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)
    print(json.dumps([report, seconds, cpu_seconds, peak]))


def _cpu_seconds() -> float:
    """Of this process and its forks that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _write_run(root: Path) -> dict[str, Any]:
    run: dict[str, Any] = json.loads(GOLDEN.read_text())
    run["training"] |= {"sequenceLength": SEQUENCE_LENGTH}
    (root / "run.json").write_text(json.dumps(run))
    return run


def _write_chats(file: Path, conversations: int, turns: int, sentences: int) -> None:
    file.parent.mkdir(parents=True)
    with file.open("w") as stream:
        for number in range(conversations):
            messages = [
                {
                    "role": "assistant" if turn % 2 else "user",
                    "content": f"{number} {SENTENCE * (1 + (7 * number + turn) % (2 * sentences))}",
                }
                for turn in range(turns - 2 * (number % (turns // 2)))
            ]
            stream.write(json.dumps({"messages": messages}) + "\n")


def _write_base(folder: Path) -> None:
    """What describes a base, without weights; a byte-level tokenizer of 2,000 words."""
    folder.mkdir(parents=True)
    fields = dataclasses.asdict(FLAVORS["tiny_lora"].shape)
    fields |= {"model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"]}
    fields["num_key_value_heads"] = fields["num_attention_heads"]
    (folder / "config.json").write_text(json.dumps(fields))
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(name, special=True) for name in ("<bos>", "<eos>", "<|user|>", "<|assistant|>")]
    trainer = BpeTrainer(
        vocab_size=2000,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([SENTENCE], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    tokens = {"bos_token": "<bos>", "eos_token": "<eos>", "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokens))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measured"]:
        _measured(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
