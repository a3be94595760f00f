"""What config.json says of the model, and the tensors that it promises, one table for four types of models.

The gate builds transformers' model of the same configuration. What that would not build, or would build of
other shapes than the tensors have, is refused here: before a byte is written.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from finetune_converter.failure import Failure, Reason

ARCHITECTURES = {
    "deepseek_v3": "DeepseekV3ForCausalLM",
    "kimi_k2": "DeepseekV3ForCausalLM",
    "glm4_moe_lite": "Glm4MoeLiteForCausalLM",
    "deepseek_v2": "DeepseekV2ForCausalLM",
}
_COLUMNS = {"deepseek_v3": 0, "kimi_k2": 0, "deepseek_v2": 1, "glm4_moe_lite": 2}
# What transformers (5.20) takes where config.json leaves a size out, a column a class of its.
_SIZES = {
    "vocab_size": (129280, 102400, 154880),
    "hidden_size": (7168, 4096, 2048),
    "intermediate_size": (18432, 11008, 10240),
    "moe_intermediate_size": (2048, 1407, 1536),
    "num_attention_heads": (128, 32, 20),
    "n_shared_experts": (1, 2, 1),
    "n_routed_experts": (256, 64, 64),
    "kv_lora_rank": (512, 512, 512),
    "qk_rope_head_dim": (64, 64, 64),
    "qk_nope_head_dim": (128, 128, 192),
    "v_head_dim": (128, 128, 256),
    "num_experts_per_tok": (8, None, 4),
}
_QUERY_RANK, _DENSE, _GROUPS, _TOP_GROUPS = (1536, 1536, 768), (3, 0, 1), (8, 1, 1), (4, 1, 1)
_KEY_HEADS = (128, None, 20)
_ROPES = ("default", "linear", "dynamic", "yarn")
_TOPK_METHODS = ("greedy", "group_limited_greedy")
_REMEDY = "Give config.json and weights of one model of these types, in Hugging Face format"

Shape = tuple[int, ...]


def check_config(folder: object, config: Mapping[str, Any]) -> None:
    """Raises Failure(BaseInvalid) naming the first field of config.json that no such model has."""
    for fault in _faults(config):
        raise Failure(f"{folder}/config.json: {fault}", Reason.BASE_INVALID, _REMEDY)


def promised_tensors(config: Mapping[str, Any]) -> Iterator[tuple[str, Shape]]:
    """Name and shape of every tensor of the model that a checked config.json describes, MTP aside."""
    hidden, words = _size(config, "hidden_size"), _size(config, "vocab_size")
    yield "model.embed_tokens.weight", (words, hidden)
    yield "model.norm.weight", (hidden,)
    if not config.get("tie_word_embeddings"):
        yield "lm_head.weight", (words, hidden)
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}"
        yield f"{prefix}.input_layernorm.weight", (hidden,)
        yield f"{prefix}.post_attention_layernorm.weight", (hidden,)
        yield from _attention(config, f"{prefix}.self_attn", hidden)
        if layer < _or(config, "first_k_dense_replace", _DENSE):
            yield from _mlp(config, f"{prefix}.mlp", _size(config, "intermediate_size"), hidden)
        else:
            yield from _experts(config, f"{prefix}.mlp", hidden)


def _attention(config: Mapping[str, Any], prefix: str, hidden: int) -> Iterator[tuple[str, Shape]]:
    heads, rank = _size(config, "num_attention_heads"), _size(config, "kv_lora_rank")
    nope, rope, value = (
        _size(config, name) for name in ("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
    )
    queries, bias = _or(config, "q_lora_rank", _QUERY_RANK), bool(config.get("attention_bias"))
    if queries is None:
        yield f"{prefix}.q_proj.weight", (heads * (nope + rope), hidden)
    else:
        yield from _linear(f"{prefix}.q_a_proj", queries, hidden, bias)
        yield f"{prefix}.q_a_layernorm.weight", (queries,)
        yield f"{prefix}.q_b_proj.weight", (heads * (nope + rope), queries)
    yield from _linear(f"{prefix}.kv_a_proj_with_mqa", rank + rope, hidden, bias)
    yield f"{prefix}.kv_a_layernorm.weight", (rank,)
    yield f"{prefix}.kv_b_proj.weight", (heads * (nope + value), rank)
    yield from _linear(f"{prefix}.o_proj", hidden, heads * value, bias)


def _experts(config: Mapping[str, Any], prefix: str, hidden: int) -> Iterator[tuple[str, Shape]]:
    experts, inner = _size(config, "n_routed_experts"), _size(config, "moe_intermediate_size")
    yield f"{prefix}.gate.weight", (experts, hidden)
    if config["model_type"] != "deepseek_v2":
        yield f"{prefix}.gate.e_score_correction_bias", (experts,)
    for expert in range(experts):
        yield from _mlp({}, f"{prefix}.experts.{expert}", inner, hidden)
    yield from _mlp(config, f"{prefix}.shared_experts", inner * _size(config, "n_shared_experts"), hidden)


def _mlp(config: Mapping[str, Any], prefix: str, inner: int, hidden: int) -> Iterator[tuple[str, Shape]]:
    # transformers' DeepSeek-V3 knows no biases there; of the routed experts none does.
    bias = config.get("model_type") == "deepseek_v2" and bool(config.get("mlp_bias"))
    yield from _linear(f"{prefix}.gate_proj", inner, hidden, bias)
    yield from _linear(f"{prefix}.up_proj", inner, hidden, bias)
    yield from _linear(f"{prefix}.down_proj", hidden, inner, bias)


def _linear(name: str, rows: int, columns: int, bias: bool) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (rows, columns)
    if bias:
        yield f"{name}.bias", (rows,)


def _faults(config: Mapping[str, Any]) -> Iterator[str]:
    model_type, named = config.get("model_type"), config.get("architectures")
    expected = ARCHITECTURES.get(model_type) if isinstance(model_type, str) else None
    if expected is None:
        yield f"model_type is {model_type!r:.200}, not one of {', '.join(ARCHITECTURES)}"
    if named is not None and named != [expected]:
        yield f"architectures is {named!r:.200}, not [{expected!r}], of which {model_type} is"
    for name in ("num_hidden_layers", *_SIZES):
        if not _is_count(value := _size(config, name)):
            yield f"{name} is {value!r:.200}, not a number above 0"
    if (rank := _or(config, "q_lora_rank", _QUERY_RANK)) is not None and not _is_count(rank):
        yield f"q_lora_rank is {rank!r:.200}, neither null nor a number above 0"
    if type(dense := _or(config, "first_k_dense_replace", _DENSE)) is not int or dense < 0:
        yield f"first_k_dense_replace is {dense!r:.200}, not a number of layers"
    if (act := config.get("hidden_act", "silu")) != "silu":
        yield f"hidden_act is {act!r:.200}, and these models' is 'silu'"
    yield from _faults_of_heads(config)
    yield from _faults_of_routing(config)
    yield from _faults_of_rope(config)


def _faults_of_heads(config: Mapping[str, Any]) -> Iterator[str]:
    heads = _size(config, "num_attention_heads")
    if (pairs := _or(config, "num_key_value_heads", _KEY_HEADS)) not in (heads, None):
        yield f"num_key_value_heads is {pairs!r:.200}, not num_attention_heads, {heads}"
    if _size(config, "qk_rope_head_dim") % 2:
        yield f"qk_rope_head_dim is {config['qk_rope_head_dim']}, and rotary positions take pairs"
    if config["model_type"] == "deepseek_v2" and _size(config, "hidden_size") % heads:
        yield f"hidden_size is no multiple of num_attention_heads, {heads}, which transformers refuses"


def _faults_of_routing(config: Mapping[str, Any]) -> Iterator[str]:
    experts, taken = _size(config, "n_routed_experts"), _size(config, "num_experts_per_tok")
    groups, top = _or(config, "n_group", _GROUPS), _or(config, "topk_group", _TOP_GROUPS)
    method = config.get("topk_method", "greedy")
    if config["model_type"] == "deepseek_v2" and method not in _TOPK_METHODS:
        yield f"topk_method is {method!r:.200}, not one of {', '.join(_TOPK_METHODS)}"
    if not _is_count(groups) or experts % groups:
        yield f"n_group is {groups!r:.200}, which does not divide the {experts} of n_routed_experts"
    elif not _is_count(top) or top > groups:
        yield f"topk_group is {top!r:.200}, not a number from 1 to n_group, {groups}"
    elif taken > experts // groups * top:
        yield f"num_experts_per_tok is {taken}, more than the groups that are taken have"


def _faults_of_rope(config: Mapping[str, Any]) -> Iterator[str]:
    for field in ("rope_scaling", "rope_parameters"):
        found = config.get(field)
        if found is None:
            continue
        kind = found.get("rope_type", found.get("type", "default")) if isinstance(found, dict) else None
        if not isinstance(kind, str) or kind not in _ROPES:
            yield f"{field} is {found!r:.200}, whose type is none of {', '.join(_ROPES)}"
        elif kind != "default" and not _is_factor(found.get("factor")):
            yield f"{field}.factor is {found.get('factor')!r:.200}, not a number from 1 on"


def _size(config: Mapping[str, Any], name: str) -> Any:
    return _or(config, name, _SIZES.get(name, (None, None, None)))


def _or(config: Mapping[str, Any], name: str, defaults: tuple[int | None, ...]) -> Any:
    """The field, or transformers' default of it in the class of the model's type."""
    found = config.get(name, defaults[_COLUMNS[config["model_type"]]])
    # DeepSeek-V2 without groups says null.
    is_null = found is None and config["model_type"] == "deepseek_v2"
    return 1 if is_null and name in ("n_group", "topk_group") else found


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0


def _is_factor(value: object) -> bool:
    return type(value) in (int, float) and value >= 1  # type: ignore[operator]
