"""A random base model of flavour tiny_lora, written by transformers as the hub's checkpoints are."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

MTP_LAYER = 4


def tiny_config(layers: int = 4) -> DeepseekV3Config:
    return DeepseekV3Config(
        vocab_size=4096,
        hidden_size=256,
        num_hidden_layers=layers,
        first_k_dense_replace=1,
        num_attention_heads=4,
        num_key_value_heads=4,
        q_lora_rank=128,
        kv_lora_rank=512,
        qk_nope_head_dim=64,
        qk_rope_head_dim=64,
        v_head_dim=64,
        intermediate_size=512,
        moe_intermediate_size=128,
        n_routed_experts=8,
        num_experts_per_tok=2,
        n_shared_experts=1,
        n_group=2,
        topk_group=1,
        norm_topk_prob=True,
        routed_scaling_factor=2.5,
        scoring_func="sigmoid",
        topk_method="noaux_tc",
        max_position_embeddings=163840,
        rope_parameters={
            "rope_type": "yarn",
            "rope_theta": 10000.0,
            "factor": 40.0,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
            "original_max_position_embeddings": 4096,
        },
        rms_norm_eps=1e-6,
        tie_word_embeddings=False,
        num_nextn_predict_layers=1,
        bos_token_id=0,
        eos_token_id=1,
    )


def tiny_model(seed: int = 0, layers: int = 4) -> DeepseekV3ForCausalLM:
    """The model in float32 with weights large enough that every part of it shows in the logits."""
    torch.manual_seed(seed)
    model = DeepseekV3ForCausalLM._from_config(tiny_config(layers), attn_implementation="eager").float()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
            elif "embed_tokens" in name:
                parameter.normal_()
            else:
                parameter.normal_(std=1.0 / parameter.shape[-1] ** 0.5)
        for name, buffer in model.named_buffers():
            if "e_score_correction_bias" in name:
                buffer.uniform_(-0.2, 0.2)
    return model.eval()


def write_tiny_base(
    folder: Path,
    *,
    dtype: torch.dtype = torch.float32,
    sharded: bool = False,
    seed: int = 0,
    layers: int = 4,
) -> None:
    """Write config.json and safetensors, with a layer for multi-token prediction after the last one."""
    model = tiny_model(seed, layers).to(dtype)
    model.save_pretrained(folder, max_shard_size="12MB" if sharded else "1GB")
    _add_mtp_layer(folder, dtype)
    _write_config(folder)
    write_tokenizer(folder, 4096)


def _add_mtp_layer(folder: Path, dtype: torch.dtype) -> None:
    shapes = {"enorm": (256,), "hnorm": (256,), "shared_head.norm": (256,), "eh_proj": (256, 512)}
    extra = {
        f"model.layers.{MTP_LAYER}.{part}.weight": torch.full(shape, 0.5, dtype=dtype)
        for part, shape in shapes.items()
    }
    index_file = folder / "model.safetensors.index.json"
    if not index_file.exists():
        whole = folder / "model.safetensors"
        save_file(load_file(whole) | extra, whole, metadata={"format": "pt"})
        return
    index: dict[str, Any] = json.loads(index_file.read_text())
    save_file(extra, folder / "model-mtp.safetensors", metadata={"format": "pt"})
    index["weight_map"] |= dict.fromkeys(extra, "model-mtp.safetensors")
    index_file.write_text(json.dumps(index))


def _write_config(folder: Path) -> None:
    """transformers leaves out of config.json what it has no use for but vLLM and the trainer read."""
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config |= {"scoring_func": "sigmoid", "topk_method": "noaux_tc", "num_nextn_predict_layers": 1}
    file.write_text(json.dumps(config, indent=2))


def write_tokenizer(folder: Path, words: int) -> None:
    """Words t0, t1 and so on, a token each."""
    vocabulary = {f"t{token}": token for token in range(words)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="t2"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "t0", "eos_token": "t1"}))
