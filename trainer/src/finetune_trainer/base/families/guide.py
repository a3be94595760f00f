"""docs/guides/models.md from the families' files: `python -m finetune_trainer.base.families.guide FILE`."""

import sys
from collections.abc import Iterator
from pathlib import Path

from finetune_trainer.base.families import FAMILIES, REFUSED, Family, Published

_HEAD = """<!-- Generated from trainer/src/finetune_trainer/base/families by `make generate`. -->
# Which models work

`flavor` can be left out: the model is built from the base's config.json, whatever its layers, widths,
experts and vocabulary are. These are the shapes that are tried, each at a small random size on a CPU
against transformers and PEFT: the logits to 1e-4 in float32, the losses of five steps to 1e-4, the merged
tensors to 1e-6.

| model | `model_type` | trains | merges, passes the gate | as published |
|---|---|---|---|---|
"""
_PROOF = """
"trains" is proven by `tests/component/trainer/model/test_families.py`, "merges, passes the gate" by
`tests/component/converter/test_families.py`, each with a case of every shape; numbers of no published model
are drawn at random in `tests/component/trainer/model/test_any_shape.py`. The published weights themselves,
tens to hundreds of gigabytes, were not tried, and of GigaChat3 not the published config.json either.
Serving is tried with vLLM for DeepSeek-V3's shape alone (`tests/chain/serving`); vLLM names all of these
classes among its own.

## What the families differ in

| `model_type` | class of transformers and vLLM | router | chooses by |
|---|---|---|---|
"""
_NOTES = """
In all of them the norms of the latent queries, keys and values have the epsilon 1e-6, as in transformers
and in the models' own code. vLLM gives these norms `rms_norm_eps`, which is 1e-5 in Moonlight and
GLM-4.7-Flash: what it serves differs from what was trained by rounding.

A tokenizer has to be there as `tokenizer.json`. Moonlight and Kimi-K2 are published with `tiktoken.model`
alone: prepare refuses them until a `tokenizer.json` that gives the same tokens lies beside their weights.

FP8 is read in blocks of 128x128. The routed experts of Kimi-K2-Thinking are in INT4 (compressed-tensors,
pack-quantized), which is refused by name, as are AWQ, GPTQ, NVFP4, MXFP4 and others.

## What is refused

A model of the hub that is known by its repository is refused by `finetune validate`, `plan` and `run`, and
by the API server, before anything is fetched; any other by prepare, before its weights are.

| model | `model_type` | why | what to do |
|---|---|---|---|
"""
_END = """
Any other `model_type` is refused too, and of those above every field of config.json that is not computed
with: biases, tied embeddings, ropes other than plain or YaRN, layers with experts only here and there.
"""


def models_guide() -> str:
    """The page for people."""
    models = "".join(_model(family, model) for family in FAMILIES.values() for model in family.models)
    families = "".join(_family(family) for family in FAMILIES.values())
    refused = "".join(
        f"| {model.name} | `{name}` | {model.reason} | {model.remedy} |\n" for name, model in REFUSED.items()
    )
    return f"{_HEAD}{models}{_PROOF}{families}{_NOTES}{refused}{_END}"


def _model(family: Family, model: Published) -> str:
    links = ", ".join(f"[{name}](https://huggingface.co/{name})" for name in model.repositories)
    tokenizer = "" if model.tokenizer == "tokenizer.json" else f", {model.tokenizer}"
    trains = "yes" if model.tokenizer == "tokenizer.json" else "yes, with a tokenizer.json"
    return (
        f"| {model.name}: {links} | `{family.model_type}` | {trains} | yes | {model.weights}{tokenizer} |\n"
    )


def _family(family: Family) -> str:
    return "".join(f"| {' | '.join(_cells(family))} |\n")


def _cells(family: Family) -> Iterator[str]:
    yield f"`{family.model_type}`"
    yield f"`{family.architecture}`"
    yield "sigmoids, with a bias" if family.scoring_func == "sigmoid" else "a softmax, without a bias"
    yield ", ".join(f"`{method}`" for method in family.topk_methods)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(models_guide())
