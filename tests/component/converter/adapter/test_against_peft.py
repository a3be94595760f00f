"""Every setting of PEFT's LoraConfig: merged as PEFT merges it, in float32, or refused by name."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft_adapters import change_config, change_tensors, merged_by_peft, tensors_of, write_adapter
from small_deepseek import ATTENTION, FUSED, load_model, small_model
from verified_merge import merged

from finetune_converter.adapter.settings import SETTINGS, NoEffect, Refused, Used
from finetune_converter.failure import Failure


def check_equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(LoraConfig)])
def test_every_field_of_peft_is_known(name: str) -> None:
    """Of the PEFT that is installed: what a later one adds is to be used, known as harmless, or refused."""
    assert name in SETTINGS


ROUTER_AND_EXPERTS = {"target_parameters": [*FUSED, "mlp.gate.weight"]}
MERGED: dict[str, list[dict[str, Any]]] = {
    "r": [{"r": 1}, {"r": 16}],
    "lora_alpha": [{"lora_alpha": 3}],
    "use_rslora": [
        {"use_rslora": True},
        {"use_rslora": True, "rank_pattern": {"o_proj": 2}, "alpha_pattern": {"layers.1.*": 5}},
        {"use_rslora": True, "target_modules": ["gate_proj", "up_proj", "down_proj"]},
    ],
    "use_dora": [
        {"use_dora": True},
        {"use_dora": True, "target_modules": ATTENTION, "use_rslora": True, "rank_pattern": {"o_proj": 8}},
        {"use_dora": True, "modules_to_save": ["lm_head"]},
    ],
    "rank_pattern": [
        {"rank_pattern": {"o_proj": 8}},
        {"rank_pattern": {r"model\.layers\.1\..*": 2, "o_proj": 8}},
        {"rank_pattern": {"^model.layers.0.self_attn.o_proj": 2}},
        {"rank_pattern": {"proj": 8}},
        {"target_parameters": FUSED, "rank_pattern": {"down_proj": 2, "mlp.experts.gate_up_proj": 3}},
        {"target_parameters": FUSED, "rank_pattern": {"experts": 2}},
    ],
    "alpha_pattern": [
        {"alpha_pattern": {"o_proj": 3}},
        {"alpha_pattern": {"self_attn": 3, "layers.0.self_attn.o_proj": 64}},
        {"target_parameters": FUSED, "alpha_pattern": {"mlp.experts.gate_up_proj": 64}},
        {"target_parameters": FUSED, "alpha_pattern": {"mlp.experts": 64}},
        {**ROUTER_AND_EXPERTS, "alpha_pattern": {"mlp.gate.weight": 64}},
        {**ROUTER_AND_EXPERTS, "alpha_pattern": {"mlp.gate": 64}},
        {"target_modules": ["gate", "o_proj"], "alpha_pattern": {"gate.weight": 64}},
    ],
    "init_lora_weights": [
        *({"init_lora_weights": value} for value in (True, False, "gaussian", "orthogonal", "mica", "eva"))
    ],
    "target_modules": [
        {"target_modules": ATTENTION},
        {"target_modules": r".*layers\.1\.self_attn\.(o|q_b)_proj"},
        {"target_modules": "all-linear"},
        {"target_modules": ["gate_proj", "up_proj", "down_proj", "o_proj"]},
        {"target_modules": ["down_proj"]},
        {"target_modules": ["gate"]},
        {"target_modules": ["layers.0.self_attn.o_proj", "kv_b_proj"]},
        {"target_modules": ["embed_tokens", "lm_head", "o_proj"]},
        {"target_modules": ["lm_head"], "use_rslora": True, "r": 8},
        {"target_modules": ["embed_tokens"], "alpha_pattern": {"embed_tokens": 2}},
    ],
    "target_parameters": [
        {"target_parameters": FUSED},
        {"target_parameters": FUSED[:1]},
        {"target_parameters": FUSED[1:], "target_modules": None},
        {"target_parameters": ["layers.0.mlp.up_proj.weight", "shared_experts.down_proj.weight"]},
        {"target_parameters": ["o_proj.weight"], "target_modules": [], "alpha_pattern": {"o_proj": 64}},
        {"target_parameters": ["embed_tokens.weight", "lm_head.weight"], "target_modules": []},
        ROUTER_AND_EXPERTS,
    ],
    "exclude_modules": [
        {"target_modules": ATTENTION, "exclude_modules": ["o_proj", "layers.0.self_attn.q_b_proj"]},
        {"target_modules": ATTENTION, "exclude_modules": r".*layers\.0\..*"},
    ],
    "layers_to_transform": [
        {"layers_to_transform": [1]},
        {"layers_to_transform": 0},
        {"layers_to_transform": []},
    ],
    "layers_pattern": [{"layers_to_transform": [1], "layers_pattern": "layers"}],
    "modules_to_save": [
        {"modules_to_save": ["lm_head"]},
        {"modules_to_save": ["embed_tokens", "lm_head"]},
        {"modules_to_save": ["gate", "q_a_layernorm"]},
        {"modules_to_save": ["self_attn.o_proj"], "target_modules": ATTENTION},
    ],
    "task_type": [{"task_type": "CAUSAL_LM"}],
    "lora_dropout": [{"lora_dropout": 0.5}],
    "ensure_weight_tying": [{"ensure_weight_tying": True}],
    "auto_mapping": [{"auto_mapping": None}],
    "peft_version": [{"peft_version": "0.21.0"}],
    "peft_type": [{}],
}


@pytest.mark.parametrize(
    "settings", [pytest.param(s, id=f"{key} {s.get(key)}") for key, table in MERGED.items() for s in table]
)
def test_merged_as_peft_merges(float32: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    adapter = write_adapter(tmp_path / "adapter", **settings)
    check_equal(merged(float32, adapter), merged_by_peft(adapter, tmp_path / "peft"))


REFUSED: dict[str, list[Any]] = {
    "use_dora": [True, "true", 1],
    "use_qalora": [True],
    "use_bdlora": [{"nblocks": 2}],
    "velora_config": [{"num_groups": 2}],
    "kasa_config": [{"beta": 0.1}],
    "monteclora_config": [{"num_samples": 4}],
    "arrow_config": [{"top_k": 2}],
    "alora_invocation_tokens": [[1, 2]],
    "lora_bias": [True],
    "bias": ["all", "lora_only"],
    "fan_in_fan_out": [True],
    "layer_replication": [[[0, 2], [1, 2]]],
    "megatron_config": [{"num_layers": 2}],
    "trainable_token_indices": [[1, 2], {"embed_tokens": [1]}],
    "init_lora_weights": [
        *("pissa", "PiSSA", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga", "some_init", 3)
    ],
    "peft_type": ["ADALORA", None, 3],
    "task_type": ["SEQ_CLS", 1],
    "r": [0, -1, 2.5, True, "8", None, 2**21],
    "lora_alpha": [0, -8, "16", None, True],
    "use_rslora": ["false", 1],
    "rank_pattern": [{"o_proj": 2.5}, {"o_proj": 0}, {"(": 4}, ["o_proj"], {"o_proj": True}],
    "alpha_pattern": [{"o_proj": "8"}, {"o_proj": -1}, {"[": 4}, "o_proj"],
    "target_modules": [3, [3], "(", {"a": 1}, ["q_b_proj"], r".*layers\.0\..*"],
    "target_parameters": ["o_proj.weight", [1]],
    "exclude_modules": [["o_proj"], ".*o_proj", "(", 5],
    "layers_to_transform": [[0], 1, [True], "1"],
    "layers_pattern": ["(", 4],
    "modules_to_save": [["lm_head"], ["no_such_module"], [1], "lm_head"],
    "lora_B_layout": ["expert_major", 3],
    "auto_mapping": ["unsloth"],
    "peft_version": [21],
    "some_new_setting": [True, {"a": 1}, "x"],
}


@pytest.mark.parametrize(
    ("key", "value"),
    [pytest.param(key, v, id=f"{key} {v}") for key, values in REFUSED.items() for v in values],
)
def test_refused_by_name(float32: Path, tmp_path: Path, key: str, value: Any) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    change_config(adapter, **{key: value})
    with pytest.raises(Failure, match=key) as failure:
        merged(float32, adapter)
    assert failure.value.exit_code == 3
    assert "\n" not in str(failure.value)
    assert not list(tmp_path.glob("merged*"))


def test_every_setting_has_a_row() -> None:
    """No key's rule is untested: what is used is merged, what is refused is refused."""
    for key, setting in SETTINGS.items():
        match setting:
            case Used():
                assert key in MERGED or key in REFUSED, key
            case Refused():
                assert key in REFUSED, key
            case NoEffect():
                pass


@pytest.mark.parametrize("key", [key for key, setting in SETTINGS.items() if isinstance(setting, Refused)])
@pytest.mark.parametrize("off", [None, False, [], {}])
def test_what_is_off_changes_nothing(float32: Path, tmp_path: Path, key: str, off: Any) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    expected = merged(float32, adapter)
    change_config(adapter, **{key: off, "some_new_setting": off})
    (tmp_path / "merged").rename(tmp_path / "before")
    check_equal(merged(float32, adapter), expected)


def test_pissa_saved_converted_is_a_plain_adapter(float32: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        options = {"r": 4, "lora_alpha": 8, "target_modules": ["o_proj"], "init_lora_weights": "pissa"}
        model = get_peft_model(small_model().float(), LoraConfig(**options))
        model.peft_config["default"].init_lora_weights = True
        model.save_pretrained(tmp_path / "initial")
        model.peft_config["default"].init_lora_weights = "pissa"
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.data.add_(torch.randn_like(parameter), alpha=0.05)
        model.save_pretrained(
            tmp_path / "adapter", path_initial_model_for_weight_conversion=str(tmp_path / "initial")
        )
        model.merge_and_unload().save_pretrained(tmp_path / "peft")
    ours, theirs = merged(float32, tmp_path / "adapter"), load_model(tmp_path / "peft")
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=1e-4, atol=1e-5, msg=name)


def test_unsloth_packs_expert_after_expert(float32: Path, tmp_path: Path) -> None:
    """Its mark says so; without one auto_mapping does, as its adapters of before September 2026."""
    adapter = write_adapter(tmp_path / "adapter", target_parameters=FUSED)
    expected = merged_by_peft(adapter, tmp_path / "peft")
    experts = 4
    tensors = {
        name: tensor.reshape(len(tensor), -1, experts).transpose(1, 2).reshape(tensor.shape)
        if ".experts." in name and "lora_B" in name
        else tensor
        for name, tensor in tensors_of(adapter).items()
    }
    change_tensors(adapter, tensors)
    for number, fields in enumerate(
        [
            {"lora_B_layout": "grouped_by_expert"},
            {"auto_mapping": {"base_model_class": "DeepseekV3ForCausalLM", "unsloth_fixed": True}},
        ]
    ):
        change_config(adapter, **{"lora_B_layout": None, "auto_mapping": None, **fields})
        check_equal(merged(float32, adapter), expected)
        (tmp_path / "merged").rename(tmp_path / f"merged-{number}")
    change_config(adapter, lora_B_layout="rank_major")
    with pytest.raises(AssertionError):
        check_equal(merged(float32, adapter), expected)


def test_experts_of_their_own_weigh_as_peft_stacks_them(float32: Path, tmp_path: Path) -> None:
    """transformers 4's names of experts: PEFT stacks them, and doubles rank and alpha of gate and up."""
    adapter, names = tmp_path / "adapter", ("gate_proj", "up_proj", "down_proj")
    write_adapter(adapter)
    sizes = {"gate_proj": (128, 32), "up_proj": (128, 32), "down_proj": (32, 128)}
    tensors = {}
    for expert in range(4):
        for name in names:
            key = f"base_model.model.model.layers.1.mlp.experts.{expert}.{name}"
            tensors[f"{key}.lora_A.weight"] = torch.randn(4, sizes[name][0])
            tensors[f"{key}.lora_B.weight"] = torch.randn(sizes[name][1], 4)
    change_tensors(adapter, tensors)
    change_config(adapter, target_modules=list(names))
    check_equal(merged(float32, adapter), merged_by_peft(adapter, tmp_path / "peft"))
    (tmp_path / "merged").rename(tmp_path / "first")
    change_config(adapter, use_rslora=True)
    with pytest.raises(Failure, match=r"its scale is 4 under this name and 5\.65685 as .*gate_up_proj"):
        merged(float32, adapter)
    change_config(adapter, alpha_pattern={"experts.gate_up_proj": 8 * 2**0.5})
    check_equal(merged(float32, adapter), merged_by_peft(adapter, tmp_path / "peft"))


@pytest.mark.parametrize("version", ["0.18.1", None])
def test_experts_with_in_and_out_swapped(float32: Path, tmp_path: Path, version: str | None) -> None:
    adapter = write_adapter(tmp_path / "adapter", target_parameters=FUSED[1:], target_modules=[])
    a, b = torch.randn(16, 128), torch.randn(32, 16)
    key = "base_model.model.model.layers.1.mlp.experts"
    change_tensors(adapter, {f"{key}.lora_A.weight": a, f"{key}.lora_B.weight": b})
    change_config(adapter, peft_version=version)
    with pytest.raises(Failure, match=r"PEFT before 0\.19\.1 wrote it"):
        merged(float32, adapter)
