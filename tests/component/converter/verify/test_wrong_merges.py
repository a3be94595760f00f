"""Merges by a merge that is wrong: the gate, which computes apart from it, lets none of them pass."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_deepseek import FUSED, load_json

from finetune_converter.arithmetic.update import LowRankTensors
from finetune_converter.failure import Failure
from finetune_converter.merge import compute
from finetune_converter.merge import merge as merging
from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.verify.stage import verify_folders

Wrong = Callable[[pytest.MonkeyPatch], None]
EXPERT = "model.layers.1.mlp.experts.{}.{}.weight"


def with_updates(patch: pytest.MonkeyPatch, change: Callable[[dict[str, object]], dict[str, object]]) -> None:
    """Let the merge take other updates than the adapter's."""
    open_adapter = merging.open_adapter

    def wrong(*arguments: object, **named: object) -> object:
        adapter = open_adapter(*arguments, **named)
        return replace(adapter, updates=change(dict(adapter.updates)))

    patch.setattr(merging, "open_adapter", wrong)


def scaled(name: str, factor: float) -> Wrong:
    """Another scale of the modules of that name."""

    def change(updates: dict[str, object]) -> dict[str, object]:
        return {
            key: replace(update, scale=update.scale * factor) if name in key else update
            for key, update in updates.items()
        }

    return lambda patch: with_updates(patch, change)


def without(name: str) -> Wrong:
    def change(updates: dict[str, object]) -> dict[str, object]:
        return {key: update for key, update in updates.items() if name not in key}

    return lambda patch: with_updates(patch, change)


def swap(first: str, second: str) -> Wrong:
    def change(updates: dict[str, object]) -> dict[str, object]:
        return {**updates, first: updates[second], second: updates[first]}

    return lambda patch: with_updates(patch, change)


def reversed_experts(patch: pytest.MonkeyPatch) -> None:
    def change(updates: dict[str, object]) -> dict[str, object]:
        order = {f".experts.{expert}.": f".experts.{3 - expert}." for expert in range(4)}
        return {
            key: updates[key.replace(part, order[part])]
            if (part := next((p for p in order if p in key), None))
            else update
            for key, update in updates.items()
        }

    with_updates(patch, change)


def multiplied(change: Callable[[LowRankTensors], LowRankTensors]) -> Wrong:
    """Let the merge multiply other factors than it read."""
    add_to = LowRankTensors.add_to

    def patched(self: LowRankTensors, band: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        return add_to(change(self), band, start, stop)

    return lambda patch: patch.setattr(LowRankTensors, "add_to", patched)


def transposed_b(factors: LowRankTensors) -> LowRankTensors:
    """Of square ones: no shape tells."""
    return (
        replace(factors, b=factors.b.T.contiguous()) if factors.b.shape[0] == factors.b.shape[1] else factors
    )


def without_last_rank(factors: LowRankTensors) -> LowRankTensors:
    return replace(factors, a=factors.a[:-1], b=factors.b[:, :-1].contiguous())


def in_bfloat16(factors: LowRankTensors) -> LowRankTensors:
    """A product rounded before it is added: small next to the weight, and still seen."""
    product = (factors.b.bfloat16() @ factors.a.bfloat16()).float() * 1.25
    return LowRankTensors(a=torch.eye(product.shape[1]), b=product, scale=factors.scale)


def truncating(patch: pytest.MonkeyPatch) -> None:
    """A cast to bfloat16 that drops bits in the place of rounding them."""

    def rounded(_weight: object, band: compute.Band, _block: object) -> tuple[torch.Tensor, None]:
        return (band.values.view(torch.int32) & ~0xFFFF).view(torch.float32).bfloat16(), None

    patch.setattr(compute, "rounded", rounded)


@pytest.mark.parametrize(
    ("wrong", "settings", "says"),
    [
        pytest.param(scaled("layers.1.self_attn.q_b_proj", 2), {}, "layers.1", id="a factor 2 in one module"),
        pytest.param(scaled("", 1.02), {}, "self_attn", id="an alpha 2 % too great"),
        pytest.param(scaled("", 2.0), {"use_rslora": True}, "self_attn", id="alpha / r with rsLoRA"),
        pytest.param(
            scaled("o_proj", 4 / 16),
            {"rank_pattern": {"o_proj": 16}, "alpha_pattern": {"o_proj": 32}},
            "o_proj",
            id="a pattern not matched",
        ),
        pytest.param(without("layers.1."), {}, "layers.1.", id="a layer forgotten"),
        pytest.param(
            swap(EXPERT.format(0, "up_proj"), EXPERT.format(0, "gate_proj")),
            {"target_parameters": FUSED},
            "experts.0",
            id="halves of gate_up swapped",
        ),
        pytest.param(reversed_experts, {"target_parameters": FUSED}, "experts.", id="experts reversed"),
        pytest.param(multiplied(transposed_b), {"r": 128}, "self_attn", id="a transposed B"),
        pytest.param(multiplied(without_last_rank), {}, "self_attn", id="a rank short"),
        pytest.param(multiplied(in_bfloat16), {}, "self_attn", id="a product of 8 bits, too great"),
        pytest.param(truncating, {}, "self_attn", id="bits dropped, not rounded"),
    ],
)
def test_caught(
    base: Path,
    adapter: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    wrong: Wrong,
    settings: dict[str, object],
    says: str,
) -> None:
    folder, out = adapter(**settings), base.parent / "out"
    with monkeypatch.context() as patch:
        wrong(patch)
        merge_folders(base=base, adapter=folder, out=out, dtype=Dtype.BASE, workers=1)
    with pytest.raises(Failure, match="differ from base") as caught:
        verify_folders(base=base, adapter=folder, merged=out, dtype=Dtype.BASE)
    assert says in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        pytest.param("init_lora_weights", "pissa", id="PiSSA"),
        pytest.param("init_lora_weights", "olora", id="OLoRA"),
        pytest.param("use_dora", True, id="DoRA"),
        pytest.param("alora_invocation_tokens", [1, 2], id="activated LoRA"),
        pytest.param("lora_from_the_future", {"a": 1}, id="a setting of a later PEFT"),
        pytest.param("modules_to_save", ["lm_head"], id="a module that was not saved"),
        pytest.param("target_modules", ["o_proj", "q_b_proj"], id="fewer targets than tensors"),
        pytest.param("layers_to_transform", [0], id="fewer layers than tensors"),
    ],
)
def test_an_adapter_that_is_no_plain_lora_of_the_merge_is_refused(
    base: Path, adapter: Callable[..., Path], setting: str, value: object
) -> None:
    """Whatever the merge thinks of it: here it is merged before it says so."""
    folder, out = adapter(), base.parent / "out"
    merge_folders(base=base, adapter=folder, out=out, dtype=Dtype.BASE, workers=1)
    config = load_json(folder / "adapter_config.json")
    (folder / "adapter_config.json").write_text(json.dumps({**config, setting: value}))
    with pytest.raises(Failure, match=r".") as caught:
        verify_folders(base=base, adapter=folder, merged=out, dtype=Dtype.BASE)
    assert caught.value.exit_code == 3
