"""The sizes of the models that can be trained: the numbers of their config.json, by transformers' names."""

from dataclasses import dataclass, replace
from typing import Literal

from finetune_operator.api.training import NamedFlavor

Dtype = Literal["float32", "bfloat16", "float16", "float8"]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A model of DeepSeek's second or third generation: latent attention (MLA), and experts after the first
    dense layers."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    first_k_dense_replace: int
    num_attention_heads: int
    q_lora_rank: int
    """0 where queries are projected at once, as in DeepSeek-V2-Lite."""
    kv_lora_rank: int = 512
    qk_nope_head_dim: int = 128
    qk_rope_head_dim: int = 64
    v_head_dim: int = 128
    intermediate_size: int
    moe_intermediate_size: int
    n_routed_experts: int
    n_shared_experts: int
    num_experts_per_tok: int
    num_nextn_predict_layers: int = 0
    has_expert_bias: bool = True
    """e_score_correction_bias, by which DeepSeek-V3 balances its experts."""
    max_position_embeddings: int = 163_840
    dtype: Dtype = "bfloat16"
    """As the base model is published, or made."""

    @property
    def qk_head_dim(self) -> int:
        """Width of a query or a key of one head."""
        return self.qk_nope_head_dim + self.qk_rope_head_dim

    @property
    def moe_layers(self) -> int:
        """Layers with experts, without those for multi-token prediction."""
        return self.num_hidden_layers - self.first_k_dense_replace


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A model's weights, as they are in its files."""

    model: Architecture
    dtype: Dtype


# https://huggingface.co/deepseek-ai/DeepSeek-V3/blob/main/config.json
DEEPSEEK_V3 = Architecture(
    vocab_size=129_280,
    hidden_size=7168,
    num_hidden_layers=61,
    first_k_dense_replace=3,
    num_attention_heads=128,
    q_lora_rank=1536,
    intermediate_size=18_432,
    moe_intermediate_size=2048,
    n_routed_experts=256,
    n_shared_experts=1,
    num_experts_per_tok=8,
    num_nextn_predict_layers=1,
    dtype="float8",
)

# https://huggingface.co/deepseek-ai/DeepSeek-V2-Lite/blob/main/config.json
DEEPSEEK_V2_LITE = Architecture(
    vocab_size=102_400,
    hidden_size=2048,
    num_hidden_layers=27,
    first_k_dense_replace=1,
    num_attention_heads=16,
    q_lora_rank=0,
    intermediate_size=10_944,
    moe_intermediate_size=1408,
    n_routed_experts=64,
    n_shared_experts=2,
    num_experts_per_tok=6,
    has_expert_bias=False,
)


def debug_form(model: Architecture) -> Architecture:
    """Return a base at its widths with its first dense layer, if any, and its first layer of experts."""
    dense = min(1, model.first_k_dense_replace)
    return replace(
        model, num_hidden_layers=dense + 1, first_k_dense_replace=dense, num_nextn_predict_layers=0
    )


FLAVORS: dict[NamedFlavor, Architecture] = {
    "tiny_lora": Architecture(
        vocab_size=4096,
        hidden_size=256,
        num_hidden_layers=4,
        first_k_dense_replace=1,
        num_attention_heads=4,
        q_lora_rank=128,
        qk_nope_head_dim=64,
        v_head_dim=64,
        intermediate_size=512,
        moe_intermediate_size=128,
        n_routed_experts=8,
        n_shared_experts=1,
        num_experts_per_tok=2,
        num_nextn_predict_layers=1,
    ),
    "deepseek_aghilora": replace(debug_form(DEEPSEEK_V3), dtype="bfloat16"),
    "16B_lora": DEEPSEEK_V2_LITE,
    "671B_lora": DEEPSEEK_V3,
}
