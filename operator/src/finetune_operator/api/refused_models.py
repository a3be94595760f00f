"""Repositories of the hub whose models are not trained, refused before anything is fetched.

Of any other base the trainer's prepare says it, by its config.json (trainer base/families/refused.py).
"""

from finetune_operator.api.rules import Rule

_LARGE = "use a model of its size that is trained, such as deepseek-ai/DeepSeek-V3.1"
_SMALL = "use one that is trained, such as zai-org/GLM-4.7-Flash or deepseek-ai/DeepSeek-V2-Lite"


def _refuse(repositories: str, problem: str, remedy: str) -> Rule:
    """Return the rule that refuses an hf:// address whose ORG/NAME begins as `repositories`, in any case."""
    return Rule(
        rule=f"!has(self.uri) || !self.uri.matches('(?i)^hf://({repositories})')",
        problem=problem,
        remedy=f"{remedy}; docs/guides/models.md names all",
        field="uri",
    )


REFUSED_MODELS = (
    _refuse(
        "deepseek-ai/DeepSeek-V3[.]2|zai-org/GLM-5([.][0-9]+)?(-FP8)?$",
        "DeepSeek-V3.2 and GLM-5 are not trained: their attention reads the tokens that an indexer picks",
        "use deepseek-ai/DeepSeek-V3.1-Terminus, which DeepSeek-V3.2 was made from",
    ),
    _refuse(
        "deepseek-ai/DeepSeek-V4",
        "DeepSeek-V4 is not trained: it compresses keys and values over tokens",
        _LARGE,
    ),
    _refuse(
        "moonshotai/Kimi-K2-Thinking",
        "Kimi-K2-Thinking is not trained: its routed experts are in INT4 (compressed-tensors)",
        "use moonshotai/Kimi-K2-Instruct-0905, which is in FP8, or a copy of this one in bfloat16",
    ),
    _refuse(
        "moonshotai/Kimi-Linear|Qwen/Qwen3-Next|Qwen/Qwen3[.]5",
        "Kimi-Linear, Qwen3-Next and Qwen3.5 are not trained: most of their layers have linear attention",
        _SMALL,
    ),
    _refuse(
        "moonshotai/Kimi-(VL|K2[.][0-9])|deepseek-ai/(DeepSeek-(VL|OCR)|Janus)|zai-org/GLM-(5-Next|4[.][0-9]V)"
        "|google/gemma-3",
        "models that read images are not trained, only language models are",
        _SMALL,
    ),
    _refuse(
        "meituan-longcat/LongCat-Flash",
        "LongCat-Flash is not trained: it has two attentions a layer, and experts that compute nothing",
        _LARGE,
    ),
    _refuse(
        "meta-llama/|mistralai/Mi[sx]tral-(7B|8x)|Qwen/Qwen([12]|3-[0-9C])|google/gemma-2|openai/gpt-oss"
        "|Qwen/QwQ|microsoft/phi-|moonshotai/Kimi-Dev|(zai-org|THUDM)/GLM-4(-|[.][567](-Air|-FP8|$))"
        "|deepseek-ai/DeepSeek-(LLM|MoE|R1-Distill|R1-0528-Qwen3|Math-7B|Coder-[0-9])",
        "Llama, Mistral, Mixtral, Qwen, Gemma, GPT-OSS, Phi, GLM-4.5 to 4.7 and models distilled into them "
        "are not trained: their attention is not latent",
        f"{_SMALL}; PEFT trains yours by itself",
    ),
)
