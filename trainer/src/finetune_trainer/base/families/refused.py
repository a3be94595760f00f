"""Models that people bring and that are not trained here, by their `model_type`, each with the reason.

Of those that have a repository by which they are known, the operator says the same before anything is fetched
(operator api/refused_models.py); a test compares the two.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A model, or those of one maker that share a `model_type`."""

    name: str
    reason: str
    """What of it is computed otherwise, after its name: "its attention ..."."""
    remedy: str
    """Which base to use in its place."""

    def __str__(self) -> str:
        """One sentence for people."""
        return f"{self.name}: {self.reason}"


INDEXER = "its attention reads the tokens that an indexer picks, and no indexer is computed here"
IMAGES = "it reads images too, and only language models are trained here"
LINEAR = "most of its layers have linear attention, and only latent attention is computed here"
COMPRESSED = (
    "it compresses keys and values over tokens and mixes residual streams, which is not computed here"
)
GROUPED = "its attention is not latent: keys and values are projected without a latent rank"
NO_EXPERTS = "none of its layers has experts"

_LARGE = "Use a base of its size that is trained here, such as DeepSeek-V3.1 or Kimi-K2"
_SMALL = "Use a base that is trained here, such as GLM-4.7-Flash, Moonlight-16B-A3B or DeepSeek-V2-Lite"


def _grouped(name: str) -> Refused:
    return Refused(name=name, reason=GROUPED, remedy=f"{_SMALL}; PEFT trains this one by itself")


REFUSED = {
    "deepseek_v32": Refused(
        name="DeepSeek-V3.2", reason=INDEXER, remedy="Use DeepSeek-V3.1-Terminus, which it was made from"
    ),
    "glm_moe_dsa": Refused(name="GLM-5", reason=INDEXER, remedy=_LARGE),
    "glm5_next": Refused(name="GLM-5-Next", reason=IMAGES, remedy=_LARGE),
    "deepseek_v4": Refused(name="DeepSeek-V4", reason=COMPRESSED, remedy=_LARGE),
    "deepseek_v41": Refused(name="DeepSeek-V4.1", reason=COMPRESSED, remedy=_LARGE),
    "kimi_linear": Refused(name="Kimi-Linear", reason=LINEAR, remedy=_SMALL),
    "kimi_k25": Refused(name="Kimi-K2.5", reason=IMAGES, remedy="Use Kimi-K2"),
    "kimi_vl": Refused(
        name="Kimi-VL", reason=IMAGES, remedy="Use Moonlight-16B-A3B, which its language model was made from"
    ),
    "deepseek_vl_v2": Refused(name="DeepSeek-VL2", reason=IMAGES, remedy="Use DeepSeek-V2-Lite"),
    "longcat_flash": Refused(
        name="LongCat-Flash",
        reason="two attentions a layer, and experts that compute nothing, which are not computed here",
        remedy=_LARGE,
    ),
    "glm4_moe": Refused(name="GLM-4.5, GLM-4.6 and GLM-4.7", reason=GROUPED, remedy="Use GLM-4.7-Flash"),
    "glm4": Refused(name="GLM-4", reason=GROUPED, remedy="Use GLM-4.7-Flash"),
    "mistral4": Refused(
        name="Mistral-Small-4",
        reason="its queries are scaled by their position, which is not computed here",
        remedy=_SMALL,
    ),
    "youtu": Refused(name="Youtu-LLM", reason=NO_EXPERTS, remedy=_SMALL),
    "minicpm3": Refused(name="MiniCPM3", reason=NO_EXPERTS, remedy=_SMALL),
    "axk1": Refused(
        name="A.X-K1",
        reason="it norms the output of its feed-forward layers too, which is not computed here",
        remedy=_LARGE,
    ),
    "bailing_hybrid": Refused(name="Ling and Ring 2.5", reason=LINEAR, remedy=_SMALL),
    "deepseek": _grouped("DeepSeek-MoE-16B"),
    "llama": _grouped("Llama"),
    "llama4": Refused(name="Llama-4", reason=IMAGES, remedy=_SMALL),
    "llama4_text": _grouped("Llama-4"),
    "mistral": _grouped("Mistral"),
    "mistral3": Refused(name="Mistral-3", reason=IMAGES, remedy=_SMALL),
    "mixtral": _grouped("Mixtral"),
    "qwen2": _grouped("Qwen2"),
    "qwen2_moe": _grouped("Qwen2-MoE"),
    "qwen3": _grouped("Qwen3"),
    "qwen3_moe": _grouped("Qwen3-MoE"),
    "qwen3_next": Refused(name="Qwen3-Next", reason=LINEAR, remedy=_SMALL),
    "qwen3_5": Refused(name="Qwen3.5", reason=LINEAR, remedy=_SMALL),
    "qwen3_5_moe": Refused(name="Qwen3.5-MoE", reason=LINEAR, remedy=_SMALL),
    "gemma2": _grouped("Gemma-2"),
    "gemma3": Refused(name="Gemma-3", reason=IMAGES, remedy=_SMALL),
    "gemma3_text": _grouped("Gemma-3"),
    "gpt_oss": _grouped("GPT-OSS"),
    "phi3": _grouped("Phi-3 and Phi-4"),
    "phimoe": _grouped("Phi-3.5-MoE"),
    "olmoe": _grouped("OLMoE"),
    "minimax_m2": _grouped("MiniMax-M2"),
    "bailing_moe": _grouped("Ling and Ring"),
    "dots1": _grouped("dots.llm1"),
    "ernie4_5_moe": _grouped("ERNIE-4.5"),
    "hunyuan_v1_moe": _grouped("Hunyuan-A13B"),
}
