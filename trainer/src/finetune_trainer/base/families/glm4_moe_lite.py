"""GLM-4.7-Flash: DeepSeek-V3's model with heads of 256 numbers and one group of experts."""

from finetune_trainer.base.families.family import Family, Published

GLM4_MOE_LITE = Family(
    model_type="glm4_moe_lite",
    architecture="Glm4MoeLiteForCausalLM",
    models=(
        Published(
            name="GLM-4.7-Flash",
            shape="GLM-4.7-Flash",
            repositories=("zai-org/GLM-4.7-Flash",),
            weights="BF16",
        ),
    ),
    defaults={
        "n_group": 1,
        "topk_group": 1,
        "num_experts_per_tok": 4,
        "first_k_dense_replace": 1,
        "norm_topk_prob": True,
        "routed_scaling_factor": 1.8,
        "rms_norm_eps": 1e-5,
        "vocab_size": 154880,
        "hidden_size": 2048,
        "intermediate_size": 10240,
        "moe_intermediate_size": 1536,
        "num_hidden_layers": 47,
        "num_attention_heads": 20,
        "num_key_value_heads": 20,
        "n_shared_experts": 1,
        "n_routed_experts": 64,
        "kv_lora_rank": 512,
        "q_lora_rank": 768,
        "qk_rope_head_dim": 64,
        "v_head_dim": 256,
        "qk_nope_head_dim": 192,
    },
    # Neither transformers nor vLLM asks config.json for these.
    scoring_func="sigmoid",
    topk_methods=("noaux_tc",),
    unlisted_dense_layers=1,
    fixed={"partial_rotary_factor": (1, "Use a base that turns all of each head's rotary part")},
)
