"""Merge and gate take the same architectures, and mean the same tensors by them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from small_deepseek import ATTENTION, FUSED, load_json, load_model
from transformers import DeepseekV2Config, DeepseekV2ForCausalLM, PreTrainedModel

from finetune_converter.failure import Failure
from finetune_converter.merge import architecture as merge_s
from finetune_converter.merge.stage import merge_folders
from finetune_converter.model_files.export_dtype import Dtype
from finetune_converter.verify import architecture as gate_s
from finetune_converter.verify.stage import verify_folders

LITE = {"q_lora_rank": None, "topk_method": "greedy"}
V2 = {"q_lora_rank": 32, "topk_method": "group_limited_greedy", "n_group": 2, "topk_group": 1}


def small_v2(**fields: Any) -> DeepseekV2ForCausalLM:
    torch.manual_seed(0)
    config = DeepseekV2Config(
        vocab_size=64,
        hidden_size=128,
        num_hidden_layers=2,
        first_k_dense_replace=1,
        num_attention_heads=2,
        kv_lora_rank=128,
        qk_nope_head_dim=16,
        qk_rope_head_dim=16,
        v_head_dim=16,
        intermediate_size=256,
        moe_intermediate_size=32,
        n_routed_experts=4,
        n_shared_experts=2,
        num_experts_per_tok=2,
        **fields,
    )
    return DeepseekV2ForCausalLM(config).to(torch.bfloat16)


def with_random_adapter(model: PreTrainedModel, folder: Path, **settings: Any) -> Any:
    peft = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, **settings))
    for name, parameter in peft.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    peft.save_pretrained(folder)
    return peft


@pytest.mark.parametrize("fields", [pytest.param(LITE, id="V2-Lite"), pytest.param(V2, id="V2")])
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"target_modules": [*ATTENTION, "q_proj"]}, id="attention"),
        pytest.param({"target_modules": ["o_proj"], "target_parameters": FUSED}, id="experts"),
    ],
)
def test_a_deepseek_v2_is_merged_as_peft_does_and_proven(
    tmp_path: Path, fields: dict[str, Any], settings: dict[str, Any]
) -> None:
    base, adapter, merged = (tmp_path / name for name in ("base", "adapter", "merged"))
    small_v2(**fields).save_pretrained(base, max_shard_size="100KB")
    peft = with_random_adapter(small_v2(**fields).float(), adapter, **settings)
    merge_folders(base=base, adapter=adapter, out=merged, dtype=Dtype.BASE, workers=1)
    verify_folders(base=base, adapter=adapter, merged=merged, dtype="base")
    peft.merge_and_unload().to(torch.bfloat16).save_pretrained(tmp_path / "peft")
    ours, theirs = load_model(merged), load_model(tmp_path / "peft")
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], msg=name)


def test_the_gate_finds_a_deepseek_v2_merged_wrong(tmp_path: Path) -> None:
    base, adapter, merged = (tmp_path / name for name in ("base", "adapter", "merged"))
    small_v2(**LITE).save_pretrained(base)
    with_random_adapter(small_v2(**LITE).float(), adapter, target_modules=["o_proj"])
    merge_folders(base=base, adapter=adapter, out=merged, dtype=Dtype.BASE, workers=1)
    config = (adapter / "adapter_config.json").read_text()
    (adapter / "adapter_config.json").write_text(config.replace('"lora_alpha": 8', '"lora_alpha": 16'))
    with pytest.raises(Failure, match=r"o_proj"):
        verify_folders(base=base, adapter=adapter, merged=merged, dtype="base")


def test_they_know_the_same_types() -> None:
    theirs = {name: found.model.__name__ for name, found in gate_s.ARCHITECTURES.items()}
    assert theirs == merge_s.ARCHITECTURES


def test_a_configuration_that_is_not_its_weights_is_one_line_in_the_gate(
    base: Path, adapter: Callable[..., Path]
) -> None:
    brought, merged = adapter(), base.parent / "merged"
    merge_folders(base=base, adapter=brought, out=merged, dtype=Dtype.BASE, workers=1)
    text = (base / "config.json").read_text()
    for fields in (('"kv_lora_rank": 128', '"kv_lora_rank": 64'), ('"silu"', '"sulu"')):
        (base / "config.json").write_text(text.replace(*fields))
        assert load_json(base / "config.json")
        with pytest.raises(Failure, match=r"config.json: (says that tensor|transformers cannot)") as failure:
            verify_folders(base=base, adapter=brought, merged=merged, dtype="base")
        assert failure.value.exit_code == 3
