"""Kimi-K2: DeepSeek-V3's model with 384 experts, under a name of its own."""

from finetune_trainer.base.families.deepseek_v3 import DEEPSEEK_V3
from finetune_trainer.base.families.family import Family, Published

KIMI_K2 = Family(
    model_type="kimi_k2",
    architecture=DEEPSEEK_V3.architecture,
    models=(
        Published(
            name="Kimi-K2",
            shape="Kimi-K2",
            repositories=("moonshotai/Kimi-K2-Instruct", "moonshotai/Kimi-K2-Base"),
            tokenizer="tiktoken.model",
            weights="FP8",
        ),
        Published(
            name="Kimi-K2-0905",
            shape="Kimi-K2",
            repositories=("moonshotai/Kimi-K2-Instruct-0905",),
            tokenizer="tiktoken.model",
            weights="FP8",
        ),
    ),
    # vLLM reads it with DeepseekV3Config, whose defaults these are.
    defaults=DEEPSEEK_V3.defaults,
    scoring_func="sigmoid",
    topk_methods=DEEPSEEK_V3.topk_methods,
    says_its_router=True,
    computed_as=DEEPSEEK_V3.model_type,
)
