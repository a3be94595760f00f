"""Which modules get adapters: from the job's target names to the model's modules."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torchtitan.models.common.linear import Linear
from torchtitan.models.common.moe import GroupedExperts
from torchtitan.protocols.module import Module

from finetune_trainer.contract.failure import ConfigurationError, Reason

ATTENTION = {
    "wq": "q_proj",
    "wq_a": "q_a_proj",
    "wq_b": "q_b_proj",
    "wkv_a": "kv_a_proj_with_mqa",
    "wkv_b": "kv_b_proj",
    "wo": "o_proj",
}
FEED_FORWARD = {"w1": "gate_proj", "w3": "up_proj", "w2": "down_proj"}

SERVED_ATTENTION = "served_attention"
"""attention but wkv_b, to which vLLM applies no LoRA."""
GROUPS = ("attention", SERVED_ATTENTION, "mlp", "experts")
ROUTER_NAMES = ("gate", "router", "router.gate")


@dataclass(frozen=True, kw_only=True)
class Adaptable:
    """A weight that can have an adapter.

    fqn: of its module in torchtitan's model; all experts' weights of a layer share one module.
    group: the target group it belongs to. name: torchtitan's. hf_name: the last part of Hugging Face's.
    """

    fqn: str
    group: str
    name: str
    hf_name: str

    def answers_to(self, target: str) -> bool:
        if target == SERVED_ATTENTION:
            return self.group == "attention" and self.name != "wkv_b"
        return target in (self.group, self.name, self.hf_name)


def adaptable_weights(model: Module.Config) -> Iterator[Adaptable]:
    """All weights that can have an adapter: everything linear in a DeepSeek-V3's layers but the router."""
    for fqn, _, _, _ in model.traverse(Linear.Config):
        name = fqn.rpartition(".")[2]
        if re.fullmatch(r"layers\.\d+\.attention\.\w+", fqn):
            yield Adaptable(fqn=fqn, group="attention", name=name, hf_name=ATTENTION[name])
        elif re.fullmatch(r"layers\.\d+\.(feed_forward|moe\.shared_experts)\.\w+", fqn):
            yield Adaptable(fqn=fqn, group="mlp", name=name, hf_name=FEED_FORWARD[name])
    for fqn, _, _, _ in model.traverse(GroupedExperts.Config):
        for name, hf_name in FEED_FORWARD.items():
            yield Adaptable(fqn=fqn, group="experts", name=name, hf_name=hf_name)


def select_weights(model: Module.Config, targets: Sequence[str]) -> frozenset[Adaptable]:
    """The weights that `targets` (groups, Hugging Face names or torchtitan names) name.

    Raises ConfigurationError for a target that names nothing, or the router.
    """
    weights = list(adaptable_weights(model))
    selected: set[Adaptable] = set()
    for target in targets:
        matches = [weight for weight in weights if weight.answers_to(target)]
        if not matches:
            raise _unmatched(target, weights)
        selected.update(matches)
    if not selected:
        raise _unmatched("(none given)", weights)
    return frozenset(selected)


def _unmatched(target: str, weights: Sequence[Adaptable]) -> ConfigurationError:
    names = sorted({weight.hf_name for weight in weights} | {weight.name for weight in weights})
    problem = "is the router, which is never trained" if target in ROUTER_NAMES else "matches no module"
    return ConfigurationError(
        f"lora.targets: {target} {problem}",
        Reason.TARGETS_INVALID,
        remedy=f"Use {', '.join(GROUPS)}, or a module name: {', '.join(names)}",
    )
