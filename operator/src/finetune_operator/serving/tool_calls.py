"""Which of vLLM's parsers finds tool calls in what a model writes: by the base that it is tuned from."""

from collections.abc import Sequence

# https://docs.vllm.ai/en/stable/features/tool_calling, by repository. A base that is no chat model has none.
_PARSERS = {
    repository.lower(): parser
    for parser, repositories in {
        "deepseek_v3": (
            "deepseek-ai/DeepSeek-V3",
            "deepseek-ai/DeepSeek-V3-0324",
            "deepseek-ai/DeepSeek-R1",
            "deepseek-ai/DeepSeek-R1-0528",
        ),
        "deepseek_v31": ("deepseek-ai/DeepSeek-V3.1", "deepseek-ai/DeepSeek-V3.1-Terminus"),
        "kimi_k2": ("moonshotai/Kimi-K2-Instruct", "moonshotai/Kimi-K2-Instruct-0905"),
        "glm47": ("zai-org/GLM-4.7-Flash",),
    }.items()
    for repository in repositories
}
_OWN_CHOICE = ("tool-call-parser", "enable-auto-tool-choice")


def tool_call_args(base: str, engine_args: Sequence[str]) -> tuple[str, ...]:
    """Return vLLM's arguments; none for a base that is not known by its name, or where the user chose.

    base: the address of the base, such as hf://deepseek-ai/DeepSeek-V3.1; empty where nobody knows it.
    """
    parser = _PARSERS.get(base.removeprefix("hf://").lower()) if base.startswith("hf://") else None
    chosen = any(word in argument.replace("_", "-") for argument in engine_args for word in _OWN_CHOICE)
    return () if parser is None or chosen else ("--enable-auto-tool-choice", "--tool-call-parser", parser)
