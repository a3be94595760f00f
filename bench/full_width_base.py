"""Write random weights of `deepseek_aghilora` as Hugging Face does, in bfloat16: 26 GB in a folder.

With --float8 in DeepSeek's FP8, as the published models are: 15 GB.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from finetune_trainer.base.float8 import SCALE_SUFFIX, quantize
from finetune_trainer.model.base_loader import frozen_tensors
from finetune_trainer.model.converter import LoRAConverter
from finetune_trainer.model.flavors import build_model_config
from finetune_trainer.model.lora.settings import LoRASettings
from finetune_trainer.model.names import CheckpointNames

FILE_BYTES = 4_000_000_000
CONFIG = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "vocab_size": 129280,
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "num_hidden_layers": 2,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "n_shared_experts": 1,
    "n_routed_experts": 256,
    "routed_scaling_factor": 2.5,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
    "n_group": 8,
    "topk_group": 4,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 1,
    "norm_topk_prob": True,
    "scoring_func": "sigmoid",
    "topk_method": "noaux_tc",
    "hidden_act": "silu",
    "max_position_embeddings": 163840,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "rope_scaling": {
        "type": "yarn",
        "rope_type": "yarn",
        "factor": 40.0,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 4096,
    },
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "bos_token_id": 0,
    "eos_token_id": 1,
}


FLOAT8 = {
    "quant_method": "fp8",
    "fmt": "e4m3",
    "activation_scheme": "dynamic",
    "weight_block_size": [128, 128],
}


def main(folder: Path, *, float8: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    config = build_model_config("deepseek_aghilora", device="cuda")
    config = (
        LoRAConverter.Config(
            lora=LoRASettings(rank=16, alpha=32.0), targets=("attention",), base_dtype="bfloat16"
        )
        .build()
        .convert(config)
    )
    names = CheckpointNames.of(config)
    with torch.device("meta"):
        model = config.build()
    weight_map: dict[str, str] = {}
    pending: dict[str, torch.Tensor] = {}
    for name, tensor in frozen_tensors(model):
        hf_names = names.tensors(name, num_experts=tensor.shape[0])
        shape = tensor.shape if len(hf_names) == 1 else tensor.shape[1:]
        for hf_name in hf_names:
            pending |= _stored(hf_name, _random(hf_name, shape), float8=float8)
            if sum(part.nbytes for part in pending.values()) > FILE_BYTES:
                _write(folder, pending, weight_map)
    _write(folder, pending, weight_map)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )
    config_json = CONFIG | ({"quantization_config": FLOAT8} if float8 else {})
    (folder / "config.json").write_text(json.dumps(config_json))
    vocabulary = {f"t{token}": token for token in range(64)}
    Tokenizer(WordLevel(vocabulary, unk_token="t2")).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "t0", "eos_token": "t1"}))


def _random(name: str, shape: torch.Size) -> torch.Tensor:
    """Weights that keep the size of what passes through them."""
    if "bias" in name:
        return torch.zeros(shape)
    if "norm" in name:
        return torch.ones(shape, dtype=torch.bfloat16)
    scale = 1.0 if "embed_tokens" in name else shape[-1] ** -0.5
    return (torch.randn(shape, device="cuda" if torch.cuda.is_available() else "cpu") * scale).bfloat16()


def _stored(name: str, values: torch.Tensor, *, float8: bool) -> dict[str, torch.Tensor]:
    """The tensors of a file that hold `values`; DeepSeek leaves the ends and the router as they are."""
    if not float8 or not name.endswith(("proj.weight", "_mqa.weight")):
        return {name: values.cpu()}
    rounded, scales = quantize(values)
    return {name: rounded.cpu().contiguous(), f"{name}{SCALE_SUFFIX}": scales.cpu()}


def _write(folder: Path, pending: dict[str, torch.Tensor], weight_map: dict[str, str]) -> None:
    file = f"model-{len(set(weight_map.values())):05}.safetensors"
    save_file(pending, folder / file, metadata={"format": "pt"})
    weight_map |= dict.fromkeys(pending, file)
    pending.clear()


if __name__ == "__main__":
    main(Path(sys.argv[1]), float8="--float8" in sys.argv)
