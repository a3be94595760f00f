"""Every shape of the families through the whole chain, without a flavor: as transformers and PEFT have it.

That vLLM answers with the merged models is in ../converter/test_loads.py, with the others that it loads.
"""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from family_chain import NAMES, RANK, RATE, STEPS, FamilyChain
from peft import LoraConfig, PeftModel, get_peft_model
from peft_training import packed_mask
from random_families import random_model
from safetensors.torch import load_file
from small_deepseek import load_model

pytestmark = pytest.mark.chain
PROJECTIONS = ["q_proj", "q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"]
SEED = 1


@pytest.mark.parametrize("name", NAMES)
def test_prepare_finds_the_model_of_transformers(families: dict[str, FamilyChain], name: str) -> None:
    parity = json.loads((families[name].run / "prepared.json").read_text())["parity"]
    assert parity["comparedWith"] == type(families[name].base.model).__name__
    assert parity["greatestDifference"] < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_the_losses_are_those_of_peft(families: dict[str, FamilyChain], name: str) -> None:
    chain = families[name]
    losses = json.loads((chain.root / "losses.json").read_text())
    assert losses == pytest.approx(_peft_losses(chain), abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_what_passed_the_gate_is_what_peft_merges(
    families: dict[str, FamilyChain], name: str, tmp_path: Path
) -> None:
    chain = families[name]
    peft = PeftModel.from_pretrained(random_model(chain.base.config, SEED), chain.adapter)
    peft.merge_and_unload().save_pretrained(tmp_path)
    ours, theirs, base = load_model(chain.merged), load_model(tmp_path), load_model(chain.base.folder)
    for tensor, expected in theirs.items():
        torch.testing.assert_close(ours[tensor], expected, atol=1e-6, rtol=1e-5, msg=tensor)
    changed = {tensor for tensor in ours if not torch.equal(ours[tensor], base[tensor])}
    assert {tensor.split(".")[-2] for tensor in changed} == {
        projection for projection in PROJECTIONS if any(f".{projection}." in tensor for tensor in ours)
    }


def _peft_losses(chain: FamilyChain) -> list[float]:
    """Of transformers' model with PEFT's adapters, which begin as the trainer's did, on its batches."""
    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=PROJECTIONS)
    model = get_peft_model(random_model(chain.base.config, SEED), config)
    first = load_file(chain.root / "first.safetensors")
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    for name, parameter in trained.items():
        key = name.removeprefix("base_model.model.").removesuffix(".default.weight")
        parameter.data.copy_(first.pop(key))
    assert not first, f"PEFT has no {sorted(first)}"
    optimizer = torch.optim.AdamW(trained.values(), lr=RATE, weight_decay=0.0)
    batches = load_file(chain.root / "batches.safetensors")
    losses = []
    for step in range(STEPS):
        tokens, positions, labels = (batches[f"{step}.{part}"] for part in ("input", "positions", "labels"))
        logits = model(tokens, position_ids=positions, attention_mask=packed_mask(positions)).logits
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses
