"""A DeepSeek-V3-shaped model of 4.9 GB in bfloat16 with random weights, and adapters of it."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file

SHARD_BYTES = 1_000_000_000
RANK = 16
LAYERS, HIDDEN, HEADS, EXPERTS, INNER, DENSE, VOCABULARY = 5, 2048, 16, 64, 1408, 8192, 32768
CONFIG = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "dtype": "bfloat16",
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "first_k_dense_replace": 1,
    "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS,
    "q_lora_rank": 768,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "intermediate_size": DENSE,
    "moe_intermediate_size": INNER,
    "n_routed_experts": EXPERTS,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "n_group": 8,
    "topk_group": 4,
    "vocab_size": VOCABULARY,
    "tie_word_embeddings": False,
}
ATTENTION = {
    "q_a_proj": (768, HIDDEN),
    "q_b_proj": (HEADS * 192, 768),
    "kv_a_proj_with_mqa": (576, HIDDEN),
    "kv_b_proj": (HEADS * 256, 512),
    "o_proj": (HIDDEN, HEADS * 128),
}


def make_base(folder: Path) -> Path:
    """Write the model in shards of 1 GB; the folder."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    torch.manual_seed(0)
    weight_map: dict[str, str] = {}
    shard: dict[str, torch.Tensor] = {}
    for name, shape in _shapes():
        dtype = torch.float32 if name.endswith("bias") else torch.bfloat16
        shard[name] = (
            torch.ones(shape, dtype=dtype) if "norm" in name else torch.randn(shape).to(dtype) * 0.02
        )
        if sum(tensor.nbytes for tensor in shard.values()) > SHARD_BYTES or name == "lm_head.weight":
            file = f"model-{len(set(weight_map.values())) + 1:05d}.safetensors"
            save_file(shard, folder / file, {"format": "pt"})
            weight_map |= dict.fromkeys(shard, file)
            shard = {}
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )
    return folder


def make_adapter(folder: Path, base: Path, *, experts: bool) -> Path:
    """Write an adapter of rank 16 on the MLA projections, and on every routed expert if asked; the folder."""
    folder.mkdir(parents=True)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(base),
        "r": RANK,
        "lora_alpha": 32,
        "target_modules": [*ATTENTION],
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    tensors = {}
    for name, shape in _shapes():
        if (".self_attn." in name and len(shape) == 2) or (experts and ".mlp.experts." in name):
            module = f"base_model.model.{name.removesuffix('.weight')}"
            tensors[f"{module}.lora_A.weight"] = torch.randn(RANK, shape[1]) * 0.02
            tensors[f"{module}.lora_B.weight"] = torch.randn(shape[0], RANK) * 0.02
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def _shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "model.embed_tokens.weight", (VOCABULARY, HIDDEN)
    for layer in range(LAYERS):
        yield from ((f"model.layers.{layer}.{name}", shape) for name, shape in _layer(dense=layer == 0))
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (VOCABULARY, HIDDEN)


def _layer(*, dense: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "input_layernorm.weight", (HIDDEN,)
    yield "post_attention_layernorm.weight", (HIDDEN,)
    yield "self_attn.q_a_layernorm.weight", (768,)
    yield "self_attn.kv_a_layernorm.weight", (512,)
    for name, shape in ATTENTION.items():
        yield f"self_attn.{name}.weight", shape
    if dense:
        yield from _mlp("mlp", DENSE)
        return
    yield "mlp.gate.weight", (EXPERTS, HIDDEN)
    yield "mlp.gate.e_score_correction_bias", (EXPERTS,)
    yield from _mlp("mlp.shared_experts", INNER)
    for expert in range(EXPERTS):
        yield from _mlp(f"mlp.experts.{expert}", INNER)


def _mlp(prefix: str, inner: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{prefix}.gate_proj.weight", (inner, HIDDEN)
    yield f"{prefix}.up_proj.weight", (inner, HIDDEN)
    yield f"{prefix}.down_proj.weight", (HIDDEN, inner)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    made = make_base(target / "base")
    make_adapter(target / "attention", made, experts=False)
    make_adapter(target / "everything", made, experts=True)
