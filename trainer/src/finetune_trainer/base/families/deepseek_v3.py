"""DeepSeek-V3, and what others made in its shape: R1, V3.1, Moonlight, GigaChat3."""

from finetune_trainer.base.families.family import Family, Published

DEEPSEEK_V3 = Family(
    model_type="deepseek_v3",
    architecture="DeepseekV3ForCausalLM",
    models=(
        Published(
            name="DeepSeek-V3",
            shape="DeepSeek-V3",
            repositories=("deepseek-ai/DeepSeek-V3", "deepseek-ai/DeepSeek-V3-Base"),
            weights="FP8",
        ),
        Published(
            name="DeepSeek-R1",
            shape="DeepSeek-V3",
            repositories=(
                "deepseek-ai/DeepSeek-R1",
                "deepseek-ai/DeepSeek-R1-Zero",
                "deepseek-ai/DeepSeek-R1-0528",
            ),
            weights="FP8",
        ),
        Published(
            name="DeepSeek-V3-0324",
            shape="DeepSeek-V3",
            repositories=("deepseek-ai/DeepSeek-V3-0324",),
            weights="FP8",
        ),
        Published(
            name="DeepSeek-V3.1",
            shape="DeepSeek-V3",
            repositories=("deepseek-ai/DeepSeek-V3.1", "deepseek-ai/DeepSeek-V3.1-Base"),
            weights="FP8",
        ),
        Published(
            name="DeepSeek-V3.1-Terminus",
            shape="DeepSeek-V3",
            repositories=("deepseek-ai/DeepSeek-V3.1-Terminus",),
            weights="FP8",
        ),
        Published(
            name="Moonlight-16B-A3B",
            shape="Moonlight",
            repositories=("moonshotai/Moonlight-16B-A3B", "moonshotai/Moonlight-16B-A3B-Instruct"),
            tokenizer="tiktoken.model",
            weights="BF16",
        ),
        # Its numbers are not written down here: config.json says them.
        Published(
            name="GigaChat3-10B-A1.8B",
            shape="GigaChat3",
            repositories=("ai-sage/GigaChat3-10B-A1.8B-bf16",),
            weights="BF16",
        ),
    ),
    defaults={
        "n_group": 8,
        "topk_group": 4,
        "num_experts_per_tok": 8,
        "first_k_dense_replace": 3,
        "norm_topk_prob": True,
        "routed_scaling_factor": 2.5,
        "rms_norm_eps": 1e-6,
        "vocab_size": 129280,
        "hidden_size": 7168,
        "intermediate_size": 18432,
        "moe_intermediate_size": 2048,
        "num_hidden_layers": 61,
        "num_attention_heads": 128,
        "num_key_value_heads": 128,
        "n_shared_experts": 1,
        "n_routed_experts": 256,
        "kv_lora_rank": 512,
        "q_lora_rank": 1536,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "qk_nope_head_dim": 128,
    },
    scoring_func="sigmoid",
    topk_methods=("noaux_tc",),
    says_its_router=True,
)
