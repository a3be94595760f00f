"""The first losses on tool-calling and on reasoning chats against transformers + PEFT, in float32.

`python bench/loss_on_chats.py`: the trainer reads the chats, finds what trains in them, packs and trains. The
other side has its tokens and masks from transformers' own apply_chat_template, whose template marks with
{% generation %} what the assistant writes; the trainer's template has no such marks. Tokens and masks have to
be equal, and so have the losses of 20 steps.
"""

# ruff: noqa: RUF001 - DeepSeek's tokens are written with a full-width bar

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from finetune_trainer.contract.run_file import RunFolders, load_run
from finetune_trainer.data.loader import pack_sequence
from finetune_trainer.data.packing import Packing, SequenceOrder
from finetune_trainer.data.store import TokenStore
from finetune_trainer.prepare.dataset import tokenize_dataset
from finetune_trainer.prepare.sources import fetch_sources
from loss_against_peft import STEPS, TOLERANCE
from report import write_report
from training_runs import BATCH, PACKAGES, TRAINER_SETTINGS, peft_losses, training_run, workshop

from deepseek_tokenizer import BOS, EOS, PAD, deepseek_tokenizer  # isort: skip

LENGTH, CHATS = 512, 60
# In a random base some token is as near to one expert as to another: the last bit decides, and from that
# step on the two sides train on other values. Of several seeds some meet such a token and some do not; those
# that do differ as much from themselves in float64.
SEEDS = (7, 8, 9)
MARKED_TEMPLATE = (
    "{{ bos_token }}{% if tools %}{{ 'Tools: ' + (tools | tojson) }}{% endif %}"
    "{% for m in messages %}"
    "{% if m.role == 'user' %}{{ '<｜User｜>' + m.content }}"
    "{% elif m.role == 'tool' %}{{ '<｜tool▁output▁begin｜>' + m.content + '<｜tool▁output▁end｜>' }}"
    "{% else %}{{ '<｜Assistant｜>' }}{% generation %}"
    "{% if m.reasoning_content %}{{ '<think>' + m.reasoning_content + '</think>' }}{% endif %}"
    "{{ m.content or '' }}"
    "{% for call in m.tool_calls or [] %}{{ '<｜tool▁call▁begin｜>' + call.function.name + '<｜tool▁sep｜>'"
    " + call.function.arguments + '<｜tool▁call▁end｜>' }}{% endfor %}"
    "{{ eos_token }}{% endgeneration %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}"
)
TEMPLATE = MARKED_TEMPLATE.replace("{% generation %}", "").replace("{% endgeneration %}", "")


def tool_chats() -> Iterator[dict[str, Any]]:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    for number in range(CHATS):
        town, sky = f"town {number}", ("sunny", "rainy", "grey")[number % 3]
        call = {"name": "weather", "arguments": json.dumps({"town": town})}
        yield {
            "tools": tools,
            "messages": [
                {"role": "user", "content": f"What is the weather in {town}?"},
                {
                    "role": "assistant",
                    "content": None if number % 2 else "Let me look.",
                    "tool_calls": [{"id": f"c{number}", "type": "function", "function": call}],
                },
                {"role": "tool", "tool_call_id": f"c{number}", "content": f"It is {sky}."},
                {"role": "assistant", "content": f"In {town} it is {sky}."},
            ],
        }


def reasoning_chats() -> Iterator[dict[str, Any]]:
    for number in range(CHATS):
        messages = []
        for turn in range(1 + number % 3):
            total = number + turn
            thought = f"I add {turn} to {number}. " * (1 + number % 4) + f"That is {total}."
            messages += [
                {"role": "user", "content": f"What is {number} and {turn}?"},
                {"role": "assistant", "content": f"It is {total}.", "reasoning_content": thought},
            ]
        yield {"messages": messages}


def main() -> None:
    cases = {"tools": tool_chats, "reasoning": reasoning_chats}
    figures = {
        name: {f"seed {seed}": _compare(list(chats()), seed) for seed in SEEDS}
        for name, chats in cases.items()
    }
    write_report("loss-on-chats", {"tolerance": TOLERANCE, **figures}, packages=PACKAGES)


def _compare(chats: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    with workshop() as folder:
        _write_tokenizer(folder / "base")
        ours, store, packing = _train_ours(folder, chats, seed)
        _require_the_tokens_of_transformers(store, chats)
        order = SequenceOrder(packing, seed=seed)
        rows = [
            pack_sequence(store, order[index], length=LENGTH, padding=1) for index in range(STEPS * BATCH)
        ]
        theirs = peft_losses(folder / "base", rows, seed)
        exact = peft_losses(folder / "base", rows, seed, torch.float64)
    differences, rounding = _differences(ours, theirs), _differences(theirs, exact)
    return {
        "model": "tiny_lora, float32, rank 16 on the five MLA projections",
        "chats": len(chats),
        "tokens": len(store.tokens),
        "trainedTokens": int(store.trained.sum()),
        "tokensAndMasksOfTransformers": True,
        "steps": STEPS,
        "greatestDifference": max(differences),
        "differences": [float(f"{difference:.1e}") for difference in differences],
        "within": max(differences) <= TOLERANCE,
        "peftInFloat32AndFloat64": [float(f"{difference:.1e}") for difference in rounding],
        "trainer": ours,
        "transformersAndPeft": theirs,
    }


def _differences(losses: list[float], others: list[float]) -> list[float]:
    return [abs(loss - other) for loss, other in zip(losses, others, strict=True)]


def _train_ours(
    folder: Path, chats: list[dict[str, Any]], seed: int
) -> tuple[list[float], TokenStore, Packing]:
    own = {"training.steps": STEPS, "training.sequenceLength": LENGTH, "training.seed": seed}
    settings = {**TRAINER_SETTINGS, **own}
    run = training_run(folder, "trainer", settings)
    source = run.document["dataset"]["sources"][0] | {"ignoreColumns": ["id", "tool_call_id"]}
    run.document["dataset"]["sources"] = [source]
    data = run.root / source["path"]
    data.parent.mkdir(parents=True)
    data.write_text("".join(f"{json.dumps(chat)}\n" for chat in chats))
    read = load_run(run.write())
    folders = RunFolders(root=run.root, paths=read.paths)
    tokenize_dataset(read, folders, fetch_sources(read.dataset, run.root))
    run.execute("--tokens")
    losses = [step["loss"] for step in run.steps]
    return losses, TokenStore.load(folders.tokens), Packing.load(folders.tokens / "training")


def _write_tokenizer(base: Path) -> None:
    deepseek_tokenizer().save(str(base / "tokenizer.json"))
    tokens = {"bos_token": BOS, "eos_token": EOS, "pad_token": PAD, "chat_template": TEMPLATE}
    (base / "tokenizer_config.json").write_text(json.dumps(tokens))


def _require_the_tokens_of_transformers(store: TokenStore, chats: list[dict[str, Any]]) -> None:
    """Raises AssertionError where a document is not what transformers makes of its chat."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=deepseek_tokenizer(), bos_token=BOS, eos_token=EOS, pad_token=PAD
    )
    assert len(store) == len(chats)
    for index, chat in enumerate(chats):
        encoded = tokenizer.apply_chat_template(
            chat["messages"],
            tools=chat.get("tools"),
            chat_template=MARKED_TEMPLATE,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        tokens, trained = store.document(index)
        assert tokens.tolist() == encoded["input_ids"], f"chat {index}: other tokens"
        assert trained.int().tolist() == encoded["assistant_masks"], f"chat {index}: another mask"


if __name__ == "__main__":
    main()
