"""Which modules a target of LoRA names: by their group, by Hugging Face's name of one, or by torchtitan's."""

from collections.abc import Iterable, Mapping
from typing import get_args

from finetune_operator.api.lora import SERVED_ATTENTION, AttentionModule

# A group and, within it, Hugging Face's name.
Module = tuple[str, str]

_FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "attention": get_args(AttentionModule),
    "mlp": _FEED_FORWARD,
    "experts": _FEED_FORWARD,
}
_TORCHTITAN = {
    "q_proj": "wq",
    "q_a_proj": "wq_a",
    "q_b_proj": "wq_b",
    "kv_a_proj_with_mqa": "wkv_a",
    "kv_b_proj": "wkv_b",
    "o_proj": "wo",
    "gate_proj": "w1",
    "up_proj": "w3",
    "down_proj": "w2",
}


def _named(target: str) -> frozenset[Module]:
    modules = [(group, name) for group, names in _GROUPS.items() for name in names]
    if target == SERVED_ATTENTION:
        return frozenset(m for m in modules if m[0] == "attention" and m[1] != "kv_b_proj")
    return frozenset(m for m in modules if target in (*m, _TORCHTITAN[m[1]]))


_NAMED = {
    target: _named(target)
    for target in (*_GROUPS, SERVED_ATTENTION, *_TORCHTITAN.keys(), *_TORCHTITAN.values())
}


def named_modules(targets: Iterable[str]) -> frozenset[Module]:
    """Return the modules of all bases that targets name; a name that no base has names none."""
    return frozenset().union(*(_NAMED.get(target, frozenset()) for target in targets))


def is_known(target: str) -> bool:
    """Return whether some base has what a target names."""
    return target in _NAMED
