"""PEFT's adapters of fused experts (`target_parameters`), split into the base's per-expert tensors.

transformers stacks experts in memory: `experts.gate_up_proj` [E, 2 * inner, hidden] and
`experts.down_proj` [E, hidden, inner]. PEFT's ParamWrapper (peft.tuners.lora.layer) nests one wrapper a
parameter, so its keys are `experts.lora_*` and `experts.base_layer.lora_*` without the parameter's name; the
shapes tell which is which: lora_A [E * r, in] holds expert after expert, lora_B [out, E * r] holds the
experts' columns interleaved.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from finetune_converter.adapter.config import AdapterConfig
from finetune_converter.adapter.names import Pair
from finetune_converter.adapter.updates import Factor, LowRank
from finetune_converter.failure import Failure, Reason

Shapes = Mapping[str, tuple[int, ...]]
_EXPERTS = re.compile(r"(?P<experts>.+\.experts)(\.base_layer)*")


def fused_updates(path: Path, pair: Pair, config: AdapterConfig, shapes: Shapes) -> dict[str, LowRank]:
    """Updates by base tensor; empty when the pair is of no fused experts. Raises Failure(AdapterMismatch)."""
    match = _EXPERTS.fullmatch(pair.module)
    if match is None:
        return {}
    experts = match["experts"]
    count = sum(1 for _ in _expert_names(experts, "down_proj", shapes))
    if count == 0 or pair.a.shape[0] % count or pair.b.shape[1] != pair.a.shape[0]:
        raise _mismatch(path, pair, f"the base has {count} experts in {experts!r}")
    inner, hidden = shapes[f"{experts}.0.gate_proj.weight"]
    rank = pair.a.shape[0] // count
    scale = config.scale_of(pair.module, rank)
    if pair.a.shape[1] == hidden and pair.b.shape[0] == 2 * inner:
        rows = {"gate_proj": (0, inner), "up_proj": (inner, 2 * inner)}
    elif pair.a.shape[1] == inner and pair.b.shape[0] == hidden:
        rows = {"down_proj": (0, hidden)}
    else:
        raise _mismatch(path, pair, f"the experts are {inner} x {hidden}")
    return {
        f"{experts}.{expert}.{name}.weight": LowRank(
            a=Factor(entry=pair.a, start=expert * rank, stop=(expert + 1) * rank),
            b=Factor(entry=pair.b, start=start, stop=stop, first=expert, step=count),
            scale=scale,
        )
        for expert in range(count)
        for name, (start, stop) in rows.items()
    }


def _expert_names(experts: str, leaf: str, shapes: Shapes) -> list[str]:
    pattern = re.compile(re.escape(experts) + rf"\.\d+\.{leaf}\.weight")
    return [name for name in shapes if pattern.fullmatch(name)]


def _mismatch(path: Path, pair: Pair, fact: str) -> Failure:
    shapes = f"{list(pair.a.shape)} and {list(pair.b.shape)}"
    return Failure(
        Reason.ADAPTER_MISMATCH,
        f"{path}: tensor {pair.a.name!r}: {shapes} fit no fused experts: {fact}",
        "Use the base model that the adapter was trained on",
    )
