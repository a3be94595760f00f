"""What vLLM would leave out of an adapter that it serves unmerged."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from small_deepseek import ATTENTION, FUSED

from finetune_converter import cli
from finetune_converter.failure import Failure, Reason

SERVED = [name for name in ATTENTION if name != "kv_b_proj"]


def check(*adapters: Path) -> str:
    result = CliRunner().invoke(cli.convert, ["check-adapters", *map(str, adapters)])
    if result.exception:
        raise result.exception
    return result.output


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"target_modules": SERVED}, id="served_attention"),
        pytest.param({"target_modules": SERVED, "target_parameters": FUSED}, id="and experts"),
    ],
)
def test_served(adapter: Callable[..., Path], settings: dict[str, object]) -> None:
    assert "is served as it was trained" in check(adapter(**settings))


@pytest.mark.parametrize("modules", [ATTENTION, ["kv_b_proj"]])
def test_not_served(adapter: Callable[..., Path], modules: list[str]) -> None:
    with pytest.raises(Failure, match=r"kv_b_proj\.lora_A.*vLLM applies no LoRA to kv_b_proj") as caught:
        check(adapter(target_modules=modules))
    assert caught.value.exit_code == 3


def test_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        check(tmp_path)
    assert caught.value.reason is Reason.ADAPTER_MISSING
