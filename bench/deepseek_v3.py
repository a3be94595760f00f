"""DeepSeek-V3's tensors and files, as published or narrower and shallower; their writer fills in the data."""

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from finetune_converter.model_files.header_bytes import TensorSpec, encode_header

RANK = 16
KV_RANK, NOPE, ROPE, VALUE = 512, 128, 64, 128
FILES_PER_LAYER = 163 / 62
"""As published: 61 layers and the MTP layer in 163 files. Decides how many files attention alone touches."""
Fill = Callable[[BinaryIO, TensorSpec], None]
"""Writes the data of a tensor."""


@dataclass(frozen=True, kw_only=True)
class DeepSeekV3:
    """Sizes; the default is the published model."""

    layers: int = 61
    dense_layers: int = 3
    mtp: bool = True
    float8: bool = True
    hidden: int = 7168
    heads: int = 128
    query_rank: int = 1536
    experts: int = 256
    experts_per_token: int = 8
    inner: int = 2048
    dense: int = 18432
    vocabulary: int = 129280

    @property
    def files(self) -> int:
        return round((self.layers + self.mtp) * FILES_PER_LAYER)

    @property
    def config(self) -> dict[str, Any]:
        """config.json."""
        config = {
            "architectures": ["DeepseekV3ForCausalLM"],
            "model_type": "deepseek_v3",
            "dtype": "bfloat16",
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "first_k_dense_replace": self.dense_layers,
            "num_nextn_predict_layers": int(self.mtp),
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.heads,
            "q_lora_rank": self.query_rank,
            "kv_lora_rank": KV_RANK,
            "qk_nope_head_dim": NOPE,
            "qk_rope_head_dim": ROPE,
            "v_head_dim": VALUE,
            "intermediate_size": self.dense,
            "moe_intermediate_size": self.inner,
            "n_routed_experts": self.experts,
            "n_shared_experts": 1,
            "num_experts_per_tok": self.experts_per_token,
            "n_group": 8,
            "topk_group": 4,
            "routed_scaling_factor": 2.5,
            "norm_topk_prob": True,
            "vocab_size": self.vocabulary,
            "tie_word_embeddings": False,
        }
        quantization = {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8"}
        blocks = {"quantization_config": {**quantization, "weight_block_size": [128, 128]}}
        return {**config, **(blocks if self.float8 else {})}

    def tensors(self) -> Iterator[TensorSpec]:
        """All of the files, in their order."""
        yield _plain("model.embed_tokens", self.vocabulary, self.hidden)
        for layer in range(self.layers):
            yield from self._layer(f"model.layers.{layer}", dense=layer < self.dense_layers)
        yield _plain("model.norm", self.hidden)
        yield _plain("lm_head", self.vocabulary, self.hidden)
        if self.mtp:
            yield from self._mtp_layer(f"model.layers.{self.layers}")

    def shards(self) -> Iterator[tuple[str, list[TensorSpec]]]:
        """Files of about the same size."""
        specs = [*self.tensors()]
        total, written, index, shard = sum(spec.nbytes for spec in specs), 0, 1, []
        for spec in specs:
            shard.append(spec)
            written += spec.nbytes
            if written * self.files >= total * index:
                yield f"model-{index:05d}-of-{self.files:06d}.safetensors", shard
                index, shard = index + 1, []

    def lora(self, *, experts: bool) -> Iterator[TensorSpec]:
        """An adapter's matrices, of the MLA projections, and of every routed expert if asked."""
        for layer in range(self.layers):
            for spec in self._layer(f"model.layers.{layer}", dense=layer < self.dense_layers):
                adapted = ".self_attn." in spec.name or (experts and ".mlp.experts." in spec.name)
                if not adapted or len(spec.shape) != 2 or spec.name.endswith("_scale_inv"):
                    continue
                module, (rows, columns) = f"base_model.model.{spec.name.removesuffix('.weight')}", spec.shape
                yield TensorSpec(name=f"{module}.lora_A.weight", dtype="F32", shape=(RANK, columns))
                yield TensorSpec(name=f"{module}.lora_B.weight", dtype="F32", shape=(rows, RANK))

    def _mtp_layer(self, prefix: str) -> Iterator[TensorSpec]:
        yield _plain(f"{prefix}.embed_tokens", self.vocabulary, self.hidden)
        for name in ("enorm", "hnorm", "shared_head.norm"):
            yield _plain(f"{prefix}.{name}", self.hidden)
        yield _plain(f"{prefix}.eh_proj", self.hidden, 2 * self.hidden)
        yield from self._layer(prefix, dense=False)
        yield _plain(f"{prefix}.shared_head.head", self.vocabulary, self.hidden)

    def _layer(self, prefix: str, *, dense: bool) -> Iterator[TensorSpec]:
        hidden, attention = self.hidden, f"{prefix}.self_attn"
        yield from self._matrix(f"{attention}.q_a_proj", self.query_rank, hidden)
        yield from self._matrix(f"{attention}.q_b_proj", self.heads * (NOPE + ROPE), self.query_rank)
        yield from self._matrix(f"{attention}.kv_a_proj_with_mqa", KV_RANK + ROPE, hidden)
        yield from self._matrix(f"{attention}.kv_b_proj", self.heads * (NOPE + VALUE), KV_RANK)
        yield from self._matrix(f"{attention}.o_proj", hidden, self.heads * VALUE)
        yield _plain(f"{attention}.q_a_layernorm", self.query_rank)
        yield _plain(f"{attention}.kv_a_layernorm", KV_RANK)
        yield _plain(f"{prefix}.input_layernorm", hidden)
        yield _plain(f"{prefix}.post_attention_layernorm", hidden)
        if dense:
            yield from self._mlp(f"{prefix}.mlp", self.dense)
            return
        yield _plain(f"{prefix}.mlp.gate", self.experts, hidden)
        yield TensorSpec(
            name=f"{prefix}.mlp.gate.e_score_correction_bias", dtype="F32", shape=(self.experts,)
        )
        yield from self._mlp(f"{prefix}.mlp.shared_experts", self.inner)
        for expert in range(self.experts):
            yield from self._mlp(f"{prefix}.mlp.experts.{expert}", self.inner)

    def _mlp(self, prefix: str, inner: int) -> Iterator[TensorSpec]:
        yield from self._matrix(f"{prefix}.gate_proj", inner, self.hidden)
        yield from self._matrix(f"{prefix}.up_proj", inner, self.hidden)
        yield from self._matrix(f"{prefix}.down_proj", self.hidden, inner)

    def _matrix(self, module: str, rows: int, columns: int) -> Iterator[TensorSpec]:
        """As DeepSeek-V3 is published, the projections are FP8, with a scale for each block."""
        if not self.float8:
            yield _plain(module, rows, columns)
            return
        yield TensorSpec(name=f"{module}.weight", dtype="F8_E4M3", shape=(rows, columns))
        blocks = (-(-rows // 128), -(-columns // 128))
        yield TensorSpec(name=f"{module}.weight_scale_inv", dtype="F32", shape=blocks)


def _plain(module: str, *shape: int) -> TensorSpec:
    return TensorSpec(name=f"{module}.weight", dtype="BF16", shape=shape)


def write_base(folder: Path, model: DeepSeekV3, fill: Fill) -> Path:
    """Config, index and files; the folder."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(model.config))
    weight_map: dict[str, str] = {}
    for name, specs in model.shards():
        _write_file(folder / name, specs, fill)
        weight_map |= dict.fromkeys((spec.name for spec in specs), name)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def write_adapter(folder: Path, model: DeepSeekV3, fill: Fill, *, experts: bool) -> Path:
    """An adapter as PEFT has it; the folder."""
    folder.mkdir(parents=True)
    specs = [*model.lora(experts=experts)]
    _write_file(folder / "adapter_model.safetensors", specs, fill)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(folder.with_name("base")),
        "r": RANK,
        "lora_alpha": 2 * RANK,
        # gate_proj, up_proj and down_proj mean the routed experts to PEFT.
        "target_modules": sorted({spec.name.rsplit(".", 3)[1] for spec in specs}),
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def _write_file(path: Path, specs: list[TensorSpec], fill: Fill) -> None:
    with path.open("wb") as file:
        file.write(encode_header(specs, {"format": "pt"}))
        for spec in specs:
            fill(file, spec)
        file.truncate()


def sparse(file: BinaryIO, spec: TensorSpec) -> None:
    """Zeros that take no disk, and of scales ones: nobody can divide by zero."""
    if spec.name.endswith("_scale_inv"):
        file.write(struct.pack("<f", 1.0) * (spec.nbytes // 4))
    else:
        file.seek(spec.nbytes, 1)
