"""Tool calls: the parser of the base's family, unless the user chose another or none."""

from collections.abc import Callable, Sequence

import pytest
from serving_plans import READY, plan, server_of

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.outcome import Outcome
from finetune_operator.serving.tool_calls import tool_call_args


@pytest.mark.parametrize(
    ("base", "engine_args", "parser"),
    [
        pytest.param("hf://deepseek-ai/DeepSeek-V3-0324", [], "deepseek_v3", id="DeepSeek-V3"),
        pytest.param("hf://deepseek-ai/deepseek-v3.1", [], "deepseek_v31", id="DeepSeek-V3.1, in lower case"),
        pytest.param("hf://moonshotai/Kimi-K2-Instruct", [], "kimi_k2", id="Kimi-K2"),
        pytest.param("hf://zai-org/GLM-4.7-Flash", [], "glm47", id="GLM"),
        pytest.param("hf://deepseek-ai/DeepSeek-V3.1-Base", [], None, id="a base that calls no tools"),
        pytest.param("models/base", [], None, id="a folder"),
        pytest.param("", [], None, id="unknown"),
        pytest.param(
            "hf://zai-org/GLM-4.7-Flash", ["--tool-call-parser", "glm45"], None, id="another is chosen"
        ),
        pytest.param("hf://zai-org/GLM-4.7-Flash", ["--tool_call_parser=glm45"], None, id="spelt otherwise"),
        pytest.param("hf://zai-org/GLM-4.7-Flash", ["--no-enable-auto-tool-choice"], None, id="none"),
    ],
)
def test_the_parser_is_that_of_the_base(base: str, engine_args: Sequence[str], parser: str | None) -> None:
    expected = ("--enable-auto-tool-choice", "--tool-call-parser", parser) if parser else ()
    assert tool_call_args(base, engine_args) == expected


def test_the_server_of_a_job_parses_as_its_base(deployment: Callable[..., ModelDeployment]) -> None:
    tuned = Outcome(
        claim="shared", model_path=READY.model_path, complete=True, base="hf://deepseek-ai/DeepSeek-V3.1"
    )
    args = server_of(plan(deployment(), tuned))["args"]
    assert args[args.index("--tool-call-parser") + 1] == "deepseek_v31"
