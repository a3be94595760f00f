"""PEFT's adapters of fused experts (`target_parameters`), split into the base's per-expert tensors.

transformers stacks experts in memory: `experts.gate_up_proj` [E, 2 * inner, hidden] and
`experts.down_proj` [E, hidden, inner]. PEFT's ParamWrapper (peft.tuners.lora.layer) nests one wrapper a
parameter, so its keys are `experts.lora_*` and `experts.base_layer.lora_*` without the parameter's name; the
shapes tell which is which: lora_A [E * r, in] holds expert after expert, lora_B [out, E * r] the experts'
columns, in one of the two orders of `ExpertColumns`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune_converter.adapter.config import AdapterConfig
from finetune_converter.adapter.names import Pair
from finetune_converter.adapter.targets import DOWN, GATE_UP
from finetune_converter.adapter.updates import Factor, LowRank
from finetune_converter.failure import Failure, Reason

Shapes = Mapping[str, tuple[int, ...]]
_EXPERTS = re.compile(r"(?P<experts>.+\.experts)(\.base_layer)*")
_SWAPPED = (0, 19, 1)
"""Before this version PEFT took a stacked parameter's rows for its input, and its columns for its output."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The experts of one layer: how many, and the sizes of one."""

    name: str
    count: int
    inner: int
    hidden: int


def fused_parameter(path: Path, pair: Pair, config: AdapterConfig, shapes: Shapes) -> str | None:
    """The stacked parameter that the pair adapts; None when it is of no fused experts.

    Raises Failure(AdapterMismatch).
    """
    stack = _stack(path, pair, shapes)
    if stack is None:
        return None
    inner, hidden = stack.inner, stack.hidden
    sides = (pair.a.shape[1], pair.b.shape[0])
    swapped = sides in ((2 * inner, hidden), (hidden, inner))
    fits = {(hidden, 2 * inner): GATE_UP, (inner, hidden): DOWN}.get(sides)
    if swapped and (fits is None or _version(config) < _SWAPPED):
        raise _mismatch(path, pair, "PEFT before 0.19.1 wrote it, which took in and out the other way round")
    if fits is None:
        raise _mismatch(path, pair, f"the experts are {inner} x {hidden}")
    return f"{stack.name}.{fits}"


def fused_updates(
    path: Path, pair: Pair, parameter: str, config: AdapterConfig, shapes: Shapes
) -> dict[str, LowRank]:
    """Updates by base tensor. Raises Failure(AdapterMismatch)."""
    stack = _stack(path, pair, shapes)
    assert stack is not None
    rank = pair.a.shape[0] // stack.count
    expected = config.rank_of(parameter)
    if rank != expected:
        raise _mismatch(path, pair, f"adapter_config.json gives {parameter!r} rank {expected}")
    scale = config.scale_of(parameter, rank)
    rows = {"down_proj": (0, stack.hidden)}
    if parameter.endswith(GATE_UP):
        rows = {"gate_proj": (0, stack.inner), "up_proj": (stack.inner, 2 * stack.inner)}
    return {
        f"{stack.name}.{expert}.{name}.weight": LowRank(
            a=Factor(entry=pair.a, start=expert * rank, stop=(expert + 1) * rank),
            b=Factor(
                entry=pair.b,
                start=start,
                stop=stop,
                part=expert,
                parts=stack.count,
                layout=config.expert_columns,
            ),
            scale=scale,
        )
        for expert in range(stack.count)
        for name, (start, stop) in rows.items()
    }


def _stack(path: Path, pair: Pair, shapes: Shapes) -> Stack | None:
    match = _EXPERTS.fullmatch(pair.module)
    if match is None:
        return None
    experts = match["experts"]
    pattern = re.compile(re.escape(experts) + r"\.\d+\.down_proj\.weight")
    count = sum(1 for name in shapes if pattern.fullmatch(name))
    if count == 0 or pair.a.shape[0] % count or pair.b.shape[1] != pair.a.shape[0]:
        raise _mismatch(path, pair, f"the base has {count} experts in {experts!r}")
    hidden, inner = shapes[f"{experts}.0.down_proj.weight"]
    return Stack(name=experts, count=count, inner=inner, hidden=hidden)


def _version(config: AdapterConfig) -> tuple[int, ...]:
    """PEFT's, of which wrote the adapter; one that does not say is taken for a new one."""
    numbers = re.findall(r"\d+", str(config.raw.get("peft_version") or ""))[:3]
    return tuple(map(int, numbers)) or _SWAPPED


def _mismatch(path: Path, pair: Pair, fact: str) -> Failure:
    shapes = f"{list(pair.a.shape)} and {list(pair.b.shape)}"
    return Failure(
        f"{path}: tensor {pair.a.name!r}: {shapes} fit no fused experts: {fact}",
        Reason.ADAPTER_MISMATCH,
        "Use the base model that the adapter was trained on, and PEFT 0.19.1 or later",
    )
