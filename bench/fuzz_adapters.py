"""Random adapters, merged here and by PEFT in float32: the same tensors, or a refusal in one line.

`python bench/fuzz_adapters.py --examples 1000`. hypothesis draws settings of PEFT's LoraConfig, patterns,
targets and modules saved whole; PEFT writes the adapter with random matrices; then tensors are lost, renamed,
cut, cast or added and the configuration is changed. PEFT is the judge: what it loads without leaving a tensor
out must be merged to the same values; everything else must be refused. The component tests run a few dozen.
"""

import argparse
import copy
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/builders"))

import torch
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from peft import LoraConfig, PeftConfig, get_peft_model, set_peft_model_state_dict
from peft_adapters import change_config, change_tensors, tensors_of
from small_deepseek import ATTENTION, FUSED, load_model, small_model

from finetune_converter.failure import Failure
from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype

Tensors = dict[str, torch.Tensor]
MODULES = [
    *ATTENTION, "gate", "gate_proj", "up_proj", "down_proj", "lm_head", "embed_tokens",
    "layers.0.self_attn.o_proj", "self_attn.kv_b_proj", "model.layers.1.self_attn.q_b_proj",
]  # fmt: skip
EXPRESSIONS = [
    r".*\.(o|q_b)_proj",
    r"model\.layers\.1\..*_proj",
    "all-linear",
    r".*self_attn\.kv.*",
    "o_proj",
]
PARAMETERS = [
    *FUSED, "gate_up_proj", "experts.down_proj", "mlp.gate.weight", "shared_experts.down_proj.weight",
    "layers.0.mlp.up_proj.weight", "q_a_proj.weight", "lm_head.weight",
]  # fmt: skip
PATTERNS = [
    *MODULES, *PARAMETERS, "experts", "mlp", "mlp.experts", "self_attn", r".*\.gate_up_proj",
    r"layers\.1\..*", "^model.layers.0.self_attn.o_proj", "proj", ".*", "mlp.gate",
    r"self_attn\..*", r"(o|q_b)_proj", "weight",
]  # fmt: skip
SAVED = ["lm_head", "embed_tokens", "gate", "q_a_layernorm", "norm", "o_proj"]
INITIAL = [True, True, True, False, "gaussian", "orthogonal", "pissa", "olora"]
CHANGES: dict[str, list[Any]] = {
    "r": [1, 2, 8, 0, "4"],
    "lora_alpha": [1, 64, 2.5, 0],
    "use_rslora": [True, False, "no"],
    "rank_pattern": [None, {"o_proj": 2}, {"(": 1}],
    "alpha_pattern": [None, {"o_proj": 7}, {"experts": 3}, {"gate_up_proj": 5}],
    "target_modules": [["o_proj"], "all-linear", None, []],
    "target_parameters": [None, FUSED[:1]],
    "exclude_modules": [["o_proj"], r".*layers\.0\..*"],
    "layers_to_transform": [[0], [1], 1],
    "modules_to_save": [None, ["lm_head"], ["no_such"]],
    "init_lora_weights": ["pissa", "eva", "loftq"],
    "use_dora": [True],
    "bias": ["all"],
    "fan_in_fan_out": [True],
    "ensure_weight_tying": [True],
    "lora_dropout": [0.3],
    "unheard_of": [True, None],
    "task_type": ["CAUSAL_LM", "SEQ_CLS"],
    "peft_version": ["0.18.0", None],
}
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32]

_names = st.lists(st.sampled_from(MODULES), max_size=4, unique=True)
_patterns = st.dictionaries(st.sampled_from(PATTERNS), st.integers(1, 8), max_size=3)
LORA = st.fixed_dictionaries(
    {"target_modules": _names | st.sampled_from(EXPRESSIONS)},
    optional={
        "r": st.integers(1, 8),
        "lora_alpha": st.integers(1, 32),
        "use_rslora": st.booleans(),
        "rank_pattern": _patterns,
        "alpha_pattern": _patterns,
        "target_parameters": st.lists(st.sampled_from(PARAMETERS), min_size=1, max_size=3, unique=True),
        "exclude_modules": st.lists(st.sampled_from(MODULES), max_size=2) | st.sampled_from(EXPRESSIONS),
        "layers_to_transform": st.sampled_from([[0], [1], [0, 1], 1, []]),
        "modules_to_save": st.lists(st.sampled_from(SAVED), min_size=1, max_size=2, unique=True),
        "init_lora_weights": st.sampled_from(INITIAL),
    },
)
TENSOR_EDITS = st.lists(
    st.tuples(
        st.sampled_from(["drop", "module", "rename", "narrow", "cast", "extra", "below"]), st.integers(0, 99)
    ),
    max_size=2,
)
CONFIG_EDITS = st.dictionaries(st.sampled_from(sorted(CHANGES)), st.integers(0, 9), max_size=2)


@dataclass
class Tally:
    """What became of the examples."""

    outcomes: Counter[str] = field(default_factory=Counter)


@cache
def _model() -> Any:
    return small_model().float()


def write(folder: Path, lora: dict[str, Any], edits: list[tuple[str, int]], changes: dict[str, int]) -> bool:
    """Write an adapter; whether PEFT makes one of these settings at all."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = get_peft_model(copy.deepcopy(_model()), LoraConfig(**lora))
            dice = torch.Generator().manual_seed(1)
            for name, parameter in model.named_parameters():
                if "lora_" in name or "modules_to_save" in name:
                    parameter.data.normal_(std=0.05, generator=dice)
            model.save_pretrained(folder)
    except (ValueError, TypeError, RuntimeError, KeyError, AttributeError):
        return False
    tensors = tensors_of(folder)
    for kind, number in edits:
        tensors = edited(tensors, kind, number)
    change_tensors(folder, tensors)
    if changes:
        change_config(folder, **{key: CHANGES[key][n % len(CHANGES[key])] for key, n in changes.items()})
    return True


def edited(tensors: Tensors, kind: str, number: int) -> Tensors:
    """With one tensor, or one module's, lost, renamed, cut, cast, or one added."""
    if not tensors:
        return tensors
    name = sorted(tensors)[number % len(tensors)]
    module = name.split(".lora_")[0]
    match kind:
        case "drop":
            return {key: tensor for key, tensor in tensors.items() if key != name}
        case "module":
            return {key: tensor for key, tensor in tensors.items() if not key.startswith(module)}
        case "rename":
            return {key.replace("layers.0", f"layers.{number % 3}", 1): t for key, t in tensors.items()}
        case "narrow":
            return {**tensors, name: tensors[name][..., :-1].clone()}
        case "cast":
            return {key: tensor.to(DTYPES[number % len(DTYPES)]) for key, tensor in tensors.items()}
        case "below":
            # The weight below an adapter, as PEFT saves an embedding's; of another shape where it is none.
            target = module.removeprefix("base_model.model.") + ".weight"
            shape = dict(_model().named_parameters()).get(target, torch.ones(2, 2)).shape
            weight = torch.randn(shape, generator=torch.Generator().manual_seed(number)) * 0.05
            return {**tensors, f"{module}.base_layer.weight": weight}
        case _:
            extra = {f"{module}.lora_{side}x.weight": tensors[name].clone() for side in "AB"}
            return tensors | (
                extra if number % 2 else {"base_model.model.lm_head.weight": torch.ones(64, 128)}
            )


def merged_by_peft(adapter: Path, work: Path) -> Tensors | None:
    """None where PEFT fails, or leaves a tensor of the file out.

    First values and dropout are left aside: both act in training alone.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = PeftConfig.from_pretrained(adapter)
            config.init_lora_weights, config.lora_dropout = True, 0.0
            model = get_peft_model(copy.deepcopy(_model()), config)
            if set_peft_model_state_dict(model, tensors_of(adapter)).unexpected_keys:
                return None
            model.merge_and_unload().save_pretrained(work)
    except Exception:  # whatever PEFT says of an adapter that is wrong
        return None
    return load_model(work)


def judge(base: Path, work: Path, tally: Tally) -> None:
    """Raises AssertionError when ours is neither PEFT's nor a refusal."""
    adapter = work / "adapter"
    try:
        merge_folders(base=base, adapter=adapter, out=work / "ours", dtype=Dtype.BASE, workers=1)
    except Failure as failure:
        said, code = str(failure), failure.exit_code
    else:
        said, code = "", 0
    if said:
        assert "\n" not in said
        assert code == 3, said
        tally.outcomes["refused"] += 1
        return
    theirs, ours = merged_by_peft(adapter, work / "theirs"), load_model(work / "ours")
    assert theirs is not None, "PEFT does not load it whole"
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(
            ours[name], tensor, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )
    tally.outcomes["as PEFT"] += 1


def fuzz(examples: int) -> dict[str, Any]:
    """Run so many; the tally. Raises what hypothesis found, with the example."""
    tally, began = Tally(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        _model().save_pretrained(base)

        @settings(
            max_examples=examples,
            database=None,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(lora=LORA, edits=TENSOR_EDITS, changes=CONFIG_EDITS)
        def one(lora: dict[str, Any], edits: list[tuple[str, int]], changes: dict[str, int]) -> None:
            with tempfile.TemporaryDirectory(dir=folder) as work:
                assume(write(Path(work) / "adapter", lora, edits, changes))
                judge(base, Path(work), tally)

        one()
    return {"outcomes": dict(tally.outcomes), "seconds": round(time.monotonic() - began, 1)}


def main() -> None:
    from report import write_report

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=1000)
    figures = fuzz(parser.parse_args().examples)
    write_report("fuzz-adapters", figures, packages=("peft", "torch", "transformers"))


if __name__ == "__main__":
    main()
