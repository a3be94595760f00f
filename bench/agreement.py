"""The merged model against the adapter on the base, after `make demo`: trainer, transformers and vLLM.

    python bench/agreement.py STORAGE [JOB]

The trainer computes with the adapter beside the base, unmerged, in float32; transformers and vLLM read the
merged folder. All see the same prompts, followed by the greedy tokens of vLLM in float32.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from agreement_models import adapter_on_base, added_in_float32, merged
from agreement_prompts import Continued, read_prompts
from report import write_report

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/chain/serving"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests/builders"))
from vllm_server import vllm_server

NEW_TOKENS = 24
Logits = Callable[[list[int]], torch.Tensor]
PACKAGES = ("torch", "torchtitan", "transformers", "safetensors")


def main() -> None:
    storage, job = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "faq"
    run = max(
        (storage / "runs" / "default" / job).glob("*/merged"), key=lambda path: path.stat().st_mtime
    ).parent
    base, adapter = storage / "models" / "tiny-base", run / "adapter"
    reference = adapter_on_base(base, adapter)
    prompts = read_prompts(base, storage / "datasets" / "faq.jsonl")
    answers = {dtype: _vllm_answers(run / "merged", prompts, dtype, run) for dtype in ("float32", "bfloat16")}
    texts = [Continued(prompt, answer) for prompt, answer in zip(prompts, answers["float32"], strict=True)]
    models = {
        "adapterAddedInFloat32": added_in_float32(base, adapter),
        "mergedInFloat32": merged(run / "merged", torch.float32),
        "mergedInBfloat16": merged(run / "merged", torch.bfloat16),
    }
    figures = {
        "reference": "the trainer's model: adapter on base, unmerged, float32",
        "prompts": len(prompts),
        "tokens": sum(len(text.answer) for text in texts),
        "greatestLogit": max(float(reference(text.tokens).abs().max()) for text in texts),
        "transformers": {name: _compare(reference, model, texts) for name, model in models.items()},
        "vllm": {dtype: _compare_answers(reference, prompts, answers[dtype]) for dtype in answers},
        "vllmAgainstTransformers": {
            "float32": _compare_answers(models["mergedInFloat32"], prompts, answers["float32"]),
            "bfloat16": _compare_answers(models["mergedInBfloat16"], prompts, answers["bfloat16"]),
        },
    }
    write_report("agreement", figures, packages=PACKAGES)


def _vllm_answers(model: Path, prompts: Sequence[list[int]], dtype: str, run: Path) -> list[list[int]]:
    with vllm_server(model, run / f"agreement-{dtype}.log", "--dtype", dtype) as server:
        return server.greedy_tokens(list(prompts), NEW_TOKENS)


def _compare(one: Logits, other: Logits, texts: Sequence[Continued]) -> dict[str, Any]:
    """Over all answers: the greatest difference of a logit, and how often the likeliest is the same."""
    differences, equal = [], []
    for text in texts:
        a, b = text.answering(one(text.tokens)), text.answering(other(text.tokens))
        differences.append((a - b).abs().amax(-1))
        equal.append(a.argmax(-1) == b.argmax(-1))
    greatest = torch.cat(differences)
    return {
        "greatestLogitDifference": float(greatest.max()),
        "medianOverTokensOfTheGreatest": float(greatest.median()),
        **_shares(equal),
    }


def _compare_answers(
    model: Logits, prompts: Sequence[list[int]], answers: Sequence[list[int]]
) -> dict[str, Any]:
    """How often each token of a greedy answer is the model's likeliest after those before it."""
    equal = []
    for prompt, answer in zip(prompts, answers, strict=True):
        text = Continued(prompt, answer)
        equal.append(text.answering(model(text.tokens)).argmax(-1) == torch.tensor(answer))
    return _shares(equal)


def _shares(equal: Sequence[torch.Tensor]) -> dict[str, float]:
    return {
        "equalGreedyTokens": float(torch.cat(list(equal)).float().mean()),
        "equalAnswers": sum(bool(answer.all()) for answer in equal) / len(equal),
    }


if __name__ == "__main__":
    main()
