"""The model computes what transformers' DeepseekV3ForCausalLM computes from the same checkpoint."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from random_base import tiny_config, tiny_model, write_tiny_base
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

from finetune_trainer.model.base_loader import load_base
from finetune_trainer.model.frozen_base import FrozenBaseModel
from finetune_trainer.model.lora.settings import LoRASettings
from finetune_trainer.model.spec import lora_model_spec

YARN = dict(tiny_config().rope_parameters)


@pytest.mark.parametrize(
    ("sharded", "length", "first"),
    [
        pytest.param(False, 200, 0, id="one file"),
        pytest.param(True, 200, 0, id="index of files"),
        pytest.param(False, 4500, 0, id="longer than yarn's original length"),
        pytest.param(False, 200, 131_000, id="the end of 131k tokens"),
    ],
)
@torch.no_grad()
def test_logits_are_those_of_transformers(
    tiny: FrozenBaseModel.Config, tmp_path: Path, sharded: bool, length: int, first: int
) -> None:
    write_tiny_base(tmp_path, sharded=sharded)
    for layer in tiny.layers:
        longest = max(layer.attention.rope.max_seq_len, first + length)
        layer.attention.rope = dataclasses.replace(layer.attention.rope, max_seq_len=longest)
    model = tiny.build()
    model.init_weights()
    load_base([model], tiny, tmp_path)
    tokens = torch.randint(0, 4096, (1, length), generator=torch.Generator().manual_seed(5))
    positions = torch.arange(first, first + length).unsqueeze(0)
    masks = model.get_attention_masks(positions)
    logits = model.eval()(tokens, positions=positions, attention_masks=masks)
    expected = tiny_model()(tokens, position_ids=positions).logits
    torch.testing.assert_close(logits, expected, atol=2e-4, rtol=0)


@pytest.mark.parametrize(
    ("rope", "apart"),
    [
        pytest.param({"rope_scaling": None, "rope_theta": 10000}, True, id="null"),
        pytest.param({"rope_theta": 500000.0}, True, id="another theta"),
        pytest.param({}, True, id="absent"),
        pytest.param({"rope_parameters": {"rope_type": "default", "rope_theta": 10000}}, True, id="default"),
        pytest.param({"rope_scaling": YARN | {"type": "yarn"}}, False, id="yarn of the flavour"),
        pytest.param({"rope_scaling": YARN | {"factor": 4.0, "beta_fast": 16}}, True, id="another yarn"),
        pytest.param({"rope_scaling": YARN | {"mscale": 0.707}}, True, id="two scales"),
        pytest.param({"rope_scaling": YARN | {"mscale": None, "mscale_all_dim": None}}, True, id="no scales"),
        pytest.param({"rope_parameters": YARN | {"factor": 1.0}}, True, id="yarn of factor 1"),
    ],
)
@torch.no_grad()
def test_the_rope_is_the_base_s_own(tmp_path: Path, rope: dict[str, Any], apart: bool) -> None:
    write_tiny_base(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["rope_parameters"]
    (tmp_path / "config.json").write_text(json.dumps(config | rope))
    spec = lora_model_spec(
        "tiny_lora",
        lora=LoRASettings(rank=8, alpha=8.0),
        targets=["attention"],
        base_dtype="float32",
        device="cpu",
        base=tmp_path,
    )
    model = spec.model.build()
    model.init_weights()
    load_base([model], spec.model, tmp_path)
    # transformers changes the dictionaries that it is given.
    theirs_config = DeepseekV3Config.from_dict(json.loads((tmp_path / "config.json").read_text()))
    theirs = DeepseekV3ForCausalLM._from_config(theirs_config, attn_implementation="eager").float().eval()
    theirs.load_state_dict(tiny_model().state_dict())
    tokens = torch.randint(0, 4096, (1, 96), generator=torch.Generator().manual_seed(5))
    positions = torch.arange(96).unsqueeze(0) * 50
    logits = model.eval()(tokens, positions=positions, attention_masks=model.get_attention_masks(positions))
    expected = theirs(tokens, position_ids=positions).logits
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
    flavors = tiny_model()(tokens, position_ids=positions).logits
    assert bool((flavors - expected).abs().max() > 0.01) == apart
