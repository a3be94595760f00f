"""DeepSeek-V2: its router scores by a softmax, without a bias, and takes groups by their best expert."""

from finetune_trainer.base.families.family import Family, Published

DEEPSEEK_V2 = Family(
    model_type="deepseek_v2",
    architecture="DeepseekV2ForCausalLM",
    models=(
        Published(
            name="DeepSeek-V2-Lite",
            shape="DeepSeek-V2-Lite",
            repositories=("deepseek-ai/DeepSeek-V2-Lite", "deepseek-ai/DeepSeek-V2-Lite-Chat"),
            weights="BF16",
        ),
        Published(
            name="DeepSeek-V2",
            shape="DeepSeek-V2",
            repositories=(
                "deepseek-ai/DeepSeek-V2",
                "deepseek-ai/DeepSeek-V2-Chat",
                "deepseek-ai/DeepSeek-V2-Chat-0628",
                "deepseek-ai/DeepSeek-V2.5",
                "deepseek-ai/DeepSeek-V2.5-1210",
            ),
            weights="BF16",
        ),
    ),
    defaults={
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 0,
        "norm_topk_prob": False,
        "routed_scaling_factor": 1.0,
        "rms_norm_eps": 1e-6,
        "scoring_func": "softmax",
        "topk_method": "greedy",
        "vocab_size": 102400,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "moe_intermediate_size": 1407,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "n_shared_experts": 2,
        "n_routed_experts": 64,
        "kv_lora_rank": 512,
        "q_lora_rank": 1536,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "qk_nope_head_dim": 128,
    },
    scoring_func="softmax",
    topk_methods=("greedy", "group_limited_greedy"),
    fixed={
        # transformers' router of DeepSeek-V2 does not know the field, vLLM's heeds it.
        "norm_topk_prob": (False, "Use a base whose experts' weights are not normalised"),
    },
)
