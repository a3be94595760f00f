"""Names of DeepSeek-V3's tensors, of torchtitan (its DeepSeekV3StateDictAdapter) and of Hugging Face.

Those of torchtitan 0.3, and those of 0.2 that were others.
"""

import re
from collections.abc import Iterable, Iterator

_LINEAR = {
    "attention.wq": "self_attn.q_proj",
    "attention.wq_a": "self_attn.q_a_proj",
    "attention.wq_b": "self_attn.q_b_proj",
    "attention.wkv_a": "self_attn.kv_a_proj_with_mqa",
    "attention.wkv_b": "self_attn.kv_b_proj",
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w3": "mlp.up_proj",
    "feed_forward.w2": "mlp.down_proj",
    "moe.router.gate": "mlp.gate",
    "moe.shared_experts.w1": "mlp.shared_experts.gate_proj",
    "moe.shared_experts.w3": "mlp.shared_experts.up_proj",
    "moe.shared_experts.w2": "mlp.shared_experts.down_proj",
    "eh_proj": "eh_proj",
}
_NORMS = {
    "attention.q_norm": "self_attn.q_a_layernorm",
    "attention.kv_norm": "self_attn.kv_a_layernorm",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "enorm": "enorm",
    "hnorm": "hnorm",
    "mtp_norm": "shared_head.norm",
}
_TOP = {
    "tok_embeddings.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "lm_head.weight": "lm_head.weight",
}
_EXPERTS = {
    "moe.routed_experts.inner_experts.w1_EFD": "gate_proj",
    "moe.routed_experts.inner_experts.w3_EFD": "up_proj",
    "moe.routed_experts.inner_experts.w2_EDF": "down_proj",
}
_IN_LAYER = {f"{titan}.weight": f"{hf}.weight" for titan, hf in (_LINEAR | _NORMS).items()} | {
    "moe.expert_bias_E": "mlp.gate.e_score_correction_bias"
}
_OLDER_TOP = {"output.weight": "lm_head.weight"}
_OLDER_EXPERTS = {"moe.experts.w1": "gate_proj", "moe.experts.w3": "up_proj", "moe.experts.w2": "down_proj"}
_OLDER_IN_LAYER = {"moe.expert_bias": "mlp.gate.e_score_correction_bias"}
_WRAPPERS = re.compile(r"(_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module)\.")
"""What torch.compile, recompute and FSDP put between the names of modules."""
_STATE = re.compile(
    r"(optimizer|lr_scheduler|dataloader|train_state|rng)(\..*|$)|.*(freqs_cis|rope_cache|\.cache|tokens_per_expert\w*)"
)
_LAYER = re.compile(r"(?P<mtp>mtp_)?layers\.(?P<number>\d{1,4})\.(?P<rest>.+)")
_LORA = re.compile(r"(?P<module>.+)\.lora_(?P<side>[ab])\.weight")


def plain_name(name: str) -> str:
    """Without the names of what wraps a module."""
    return _WRAPPERS.sub("", name)


def is_training_state(name: str) -> bool:
    """Whether a tensor is the training's and no weight of the model."""
    return _STATE.fullmatch(name) is not None


def layout(names: Iterable[str]) -> str:
    """Whose names these are, for people."""
    names = [*names]
    older = any(
        name in _OLDER_TOP
        or ((match := _LAYER.fullmatch(name)) and match["rest"] in _OLDER_EXPERTS | _OLDER_IN_LAYER)
        for name in map(plain_name, names)
    )
    wrapped = ", of a compiled or wrapped model" if any(_WRAPPERS.search(name) for name in names) else ""
    return f"torchtitan {'0.2' if older else '0.3'}'s names{wrapped}"


def hf_names(name: str, experts: int, layers: int) -> Iterator[tuple[str, int | None]]:
    """The Hugging Face tensors of a torchtitan tensor, with the expert each is; none for a name unknown."""
    tops, in_layer, in_experts = _TOP | _OLDER_TOP, _IN_LAYER | _OLDER_IN_LAYER, _EXPERTS | _OLDER_EXPERTS
    if name in tops:
        yield tops[name], None
    if match := _LAYER.fullmatch(name):
        number = int(match["number"]) + (layers if match["mtp"] else 0)
        prefix, rest = f"model.layers.{number}", match["rest"]
        if rest in in_layer:
            yield f"{prefix}.{in_layer[rest]}", None
        if rest in in_experts:
            yield from ((f"{prefix}.mlp.experts.{e}.{in_experts[rest]}.weight", e) for e in range(experts))


def peft_name(name: str, layers: int) -> str | None:
    """PEFT's name of a torchtitan LoRA matrix of a linear layer; None for any other tensor."""
    match = _LORA.fullmatch(name)
    if match is None:
        return None
    for module, _ in hf_names(f"{match['module']}.weight", 0, layers):
        return f"base_model.model.{module.removesuffix('.weight')}.lora_{match['side'].upper()}.weight"
    return None
