"""A run that starts from an adapter: what is loaded, and which adapters are refused, by what."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from random_adapter import write_random_adapter
from safetensors.torch import load_file, save_file

from finetune_trainer.checkpoint.warm_start import check_adapter, expected_tensors, load_adapter
from finetune_trainer.contract.failure import DataError
from finetune_trainer.model.converter import LoRAConverter
from finetune_trainer.model.flavors import build_model_config
from finetune_trainer.model.frozen_base import FrozenBaseModel
from finetune_trainer.model.lora.names import is_adapter
from finetune_trainer.model.lora.settings import LoRASettings
from finetune_trainer.model.names import CheckpointNames

pytestmark = pytest.mark.usefixtures("plain_tensors")

SETTINGS = LoRASettings(rank=8, alpha=8.0)
BASE = "hf://acme/base"
TARGETS = ["attention", "experts"]
FIRST = "base_model.model.model.layers.0.self_attn.kv_a_proj_with_mqa.lora_A.weight"
UP = FIRST.replace("self_attn.kv_a_proj_with_mqa", "mlp.up_proj")
Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def config() -> FrozenBaseModel.Config:
    converter = LoRAConverter.Config(lora=SETTINGS, targets=tuple(TARGETS), base_dtype="float32")
    return converter.build().convert(build_model_config("tiny_lora", device="cpu"))


@pytest.fixture(scope="module")
def expected(config: FrozenBaseModel.Config) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return expected_tensors(config.build(), CheckpointNames.of(config))


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    write_random_adapter(tmp_path / "adapter", SETTINGS, TARGETS, base=BASE)
    return tmp_path / "adapter"


def configured(**changed: Any) -> Change:
    def change(folder: Path) -> None:
        file = folder / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changed))

    return change


def tensors(change: Callable[[dict[str, torch.Tensor]], None]) -> Change:
    def rewrite(folder: Path) -> None:
        found = load_file(folder / "adapter_model.safetensors")
        change(found)
        save_file(found, folder / "adapter_model.safetensors")

    return rewrite


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(configured(r=4), r"lora\.rank: is 8, and r of .* 4\. Set lora\.rank to 4", id="rank"),
        pytest.param(configured(lora_alpha=16), r"lora\.alpha: is 8, and lora_alpha of .* 16", id="alpha"),
        pytest.param(configured(use_rslora=True), r"lora\.useRslora: is false, and .* true", id="rslora"),
        pytest.param(configured(use_dora=True), "use_dora is set, so it is DoRA", id="dora"),
        pytest.param(configured(bias="all"), "bias is all", id="biases"),
        pytest.param(configured(modules_to_save=["lm_head"]), "modules_to_save is set", id="whole modules"),
        pytest.param(configured(rank_pattern={"o_proj": 8}), "rank_pattern is not the job's", id="ranks"),
        pytest.param(configured(alpha_pattern={"o_proj": 8}), "alpha_pattern is not the job's", id="scales"),
        pytest.param(configured(init_lora_weights="pissa"), "init_lora_weights is pissa", id="pissa"),
        pytest.param(configured(peft_type="IA3"), "peft_type is 'IA3', not LORA", id="no lora"),
        pytest.param(
            configured(base_model_name_or_path="acme/other"),
            "base_model_name_or_path is acme/other, and model.uri hf://acme/base",
            id="another base",
        ),
        pytest.param(
            lambda folder: (folder / "adapter_config.json").unlink(),
            "has no adapter_config.json",
            id="no config",
        ),
        pytest.param(
            lambda folder: (folder / "adapter_config.json").write_text("{"), "is not JSON", id="broken config"
        ),
        pytest.param(
            lambda folder: (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin"),
            "has no adapter_model.safetensors. Save it as safetensors",
            id="a pickle",
        ),
        pytest.param(
            lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"x" * 99),
            "cannot be read",
            id="broken weights",
        ),
        pytest.param(
            tensors(lambda found: found.pop(FIRST)),
            "lora.targets: kv_a_proj_with_mqa have no adapter in .*, which lacks",
            id="a target without an adapter",
        ),
        pytest.param(
            tensors(lambda found: found.update({UP: torch.ones(8, 256)})),
            "lora.targets: leaves out up_proj",
            id="an adapter of no target",
        ),
        pytest.param(
            tensors(lambda found: found.update({FIRST: torch.ones(8, 999)})),
            r"has shape \[8, 999\], this base needs \[8, 256\]",
            id="another width",
        ),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_by_what(
    adapter: Path, expected: dict[str, tuple[int, ...]], change: Change, said: str
) -> None:
    change(adapter)
    with pytest.raises(DataError, match=said) as refused:
        check_adapter(adapter, settings=SETTINGS, base=BASE, expected=expected)
    assert refused.value.reason == "AdapterMismatch"
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "named",
    [
        pytest.param("acme/base", id="of the hub without a scheme"),
        pytest.param("hf://acme/base/", id="with a scheme"),
        pytest.param("/home/somebody/base", id="a path of another machine"),
        pytest.param("", id="none"),
    ],
)
def test_the_same_base_by_another_name(
    adapter: Path, expected: dict[str, tuple[int, ...]], named: str
) -> None:
    configured(base_model_name_or_path=named)(adapter)
    check_adapter(adapter, settings=SETTINGS, base=BASE, expected=expected)


def test_every_matrix_is_loaded(adapter: Path, config: FrozenBaseModel.Config) -> None:
    names, model = CheckpointNames.of(config), config.build()
    load_adapter([model], adapter, names)
    saved = load_file(adapter / "adapter_model.safetensors")
    for name, parameter in model.named_parameters():
        if is_adapter(name):
            modules = names.adapter_modules(name, num_experts=parameter.shape[0])
            parts = [saved.pop(f"base_model.model.{module}.{side}.weight") for module, side in modules]
            torch.testing.assert_close(parameter, parts[0] if parameter.dim() == 2 else torch.stack(parts))
    assert saved == {}


def test_what_is_not_finite_is_not_loaded(adapter: Path, config: FrozenBaseModel.Config) -> None:
    tensors(lambda found: found[FIRST].fill_(math.nan))(adapter)
    with pytest.raises(DataError, match=r"kv_a_proj_with_mqa\.lora_A\.weight is not finite"):
        load_adapter([config.build()], adapter, CheckpointNames.of(config))
