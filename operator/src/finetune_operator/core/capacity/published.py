"""Models that are published, by their repositories on the Hugging Face hub: what Fits knows before a fetch.

The numbers are those of each config.json; tests compare them with it (tests/builders/published).
"""

from dataclasses import replace

from finetune_operator.core.capacity.architecture import DEEPSEEK_V2_LITE, DEEPSEEK_V3, Architecture

_MOONLIGHT = Architecture(
    vocab_size=163_840,
    hidden_size=2048,
    num_hidden_layers=27,
    first_k_dense_replace=1,
    num_attention_heads=16,
    q_lora_rank=0,
    intermediate_size=11_264,
    moe_intermediate_size=1408,
    n_routed_experts=64,
    n_shared_experts=2,
    num_experts_per_tok=6,
    max_position_embeddings=8192,
)
_KIMI_K2 = replace(
    DEEPSEEK_V3,
    vocab_size=163_840,
    first_k_dense_replace=1,
    num_attention_heads=64,
    n_routed_experts=384,
    num_nextn_predict_layers=0,
    max_position_embeddings=131_072,
)
# The same model with twice the context.
_KIMI_K2_0905 = replace(_KIMI_K2, max_position_embeddings=262_144)
_DEEPSEEK_V2 = Architecture(
    vocab_size=102_400,
    hidden_size=5120,
    num_hidden_layers=60,
    first_k_dense_replace=1,
    num_attention_heads=128,
    q_lora_rank=1536,
    intermediate_size=12_288,
    moe_intermediate_size=1536,
    n_routed_experts=160,
    n_shared_experts=2,
    num_experts_per_tok=6,
    has_expert_bias=False,
)
_GLM_4_7_FLASH = Architecture(
    vocab_size=154_880,
    hidden_size=2048,
    num_hidden_layers=47,
    first_k_dense_replace=1,
    num_attention_heads=20,
    q_lora_rank=768,
    qk_nope_head_dim=192,
    v_head_dim=256,
    intermediate_size=10_240,
    moe_intermediate_size=1536,
    n_routed_experts=64,
    n_shared_experts=1,
    num_experts_per_tok=4,
    num_nextn_predict_layers=1,
    max_position_embeddings=202_752,
)

PUBLISHED = {
    repository.lower(): architecture
    for architecture, repositories in (
        (
            DEEPSEEK_V3,
            (
                "deepseek-ai/DeepSeek-V3",
                "deepseek-ai/DeepSeek-V3-Base",
                "deepseek-ai/DeepSeek-R1",
                "deepseek-ai/DeepSeek-R1-Zero",
                "deepseek-ai/DeepSeek-R1-0528",
                "deepseek-ai/DeepSeek-V3-0324",
                "deepseek-ai/DeepSeek-V3.1",
                "deepseek-ai/DeepSeek-V3.1-Base",
                "deepseek-ai/DeepSeek-V3.1-Terminus",
            ),
        ),
        (DEEPSEEK_V2_LITE, ("deepseek-ai/DeepSeek-V2-Lite", "deepseek-ai/DeepSeek-V2-Lite-Chat")),
        (
            _DEEPSEEK_V2,
            (
                "deepseek-ai/DeepSeek-V2",
                "deepseek-ai/DeepSeek-V2-Chat",
                "deepseek-ai/DeepSeek-V2-Chat-0628",
                "deepseek-ai/DeepSeek-V2.5",
                "deepseek-ai/DeepSeek-V2.5-1210",
            ),
        ),
        (_MOONLIGHT, ("moonshotai/Moonlight-16B-A3B", "moonshotai/Moonlight-16B-A3B-Instruct")),
        (_KIMI_K2, ("moonshotai/Kimi-K2-Instruct", "moonshotai/Kimi-K2-Base")),
        (_KIMI_K2_0905, ("moonshotai/Kimi-K2-Instruct-0905",)),
        (_GLM_4_7_FLASH, ("zai-org/GLM-4.7-Flash",)),
    )
    for repository in repositories
}


def published_architecture(uri: str) -> Architecture | None:
    """Return the model of an hf:// address that is known by its name; None for any other address."""
    return PUBLISHED.get(uri.removeprefix("hf://").lower()) if uri.startswith("hf://") else None
