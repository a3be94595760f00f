"""PEFT itself loads the exported adapter, and transformers then computes the trainer's logits."""

from collections import defaultdict
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from random_base import tiny_model, write_tiny_base
from torch import nn

from finetune_trainer.checkpoint.peft_adapter import export_adapter
from finetune_trainer.checkpoint.tensors import layer_file, write_tensors
from finetune_trainer.model.base_loader import load_base
from finetune_trainer.model.converter import LoRAConverter
from finetune_trainer.model.flavors import build_model_config
from finetune_trainer.model.frozen_base import FrozenBaseModel
from finetune_trainer.model.lora.magnitudes import base_norms
from finetune_trainer.model.lora.names import is_adapter
from finetune_trainer.model.lora.settings import LoRASettings
from finetune_trainer.model.names import CheckpointNames

pytestmark = pytest.mark.usefixtures("plain_tensors")

SETTINGS = LoRASettings(rank=8, alpha=16.0, dropout=0.1)
PATTERNS = LoRASettings(
    rank=8, alpha=16.0, rank_pattern={"q_b_proj": 4, "o_proj": 12}, alpha_pattern={"o_proj": 3.0}
)
ALL = ["attention", "mlp", "experts"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    write_tiny_base(folder)
    return folder


@pytest.mark.parametrize(
    ("targets", "settings"),
    [
        pytest.param(["attention"], SETTINGS, id="attention"),
        pytest.param(["mlp"], SETTINGS, id="mlp"),
        pytest.param(["experts"], SETTINGS, id="experts"),
        pytest.param(ALL, SETTINGS, id="all"),
        pytest.param(ALL, LoRASettings(rank=8, alpha=8.0, use_rslora=True), id="all, rank-stabilised"),
        pytest.param(["attention"], LoRASettings(rank=8, alpha=16.0, dora=True), id="attention, DoRA"),
        pytest.param(ALL, PATTERNS, id="all, patterns"),
        pytest.param(["down_proj"], SETTINGS, id="down_proj alone"),
        pytest.param(["gate_proj", "up_proj"], SETTINGS, id="no down_proj"),
    ],
)
# PEFT compares its patterns with target_modules only, and applies them to target_parameters all the same.
@pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern keys did not match")
# The adapter of down_proj that PEFT is made to add.
@pytest.mark.filterwarnings("ignore:Found missing adapter keys:UserWarning")
@torch.no_grad()
def test_peft_computes_the_same_logits(
    base: Path, tmp_path: Path, targets: list[str], settings: LoRASettings
) -> None:
    converter = LoRAConverter.Config(lora=settings, targets=tuple(targets), base_dtype="float32")
    config = converter.build().convert(build_model_config("tiny_lora", device="cpu"))
    model = config.build()
    model.init_weights()
    load_base([model], config, base)
    _train(model, tmp_path)
    export_adapter(
        tmp_path,
        tmp_path / "adapter",
        names=CheckpointNames.of(config),
        settings=settings,
        base="base",
        norms=base_norms([model]),
    )
    tokens = torch.randint(0, 4096, (1, 48), generator=torch.Generator().manual_seed(5))
    logits = _logits(model, tokens)
    transformers = tiny_model()
    assert (transformers(tokens).logits - logits).abs().max() > 0.5, "the adapter does nothing"
    tuned = PeftModel.from_pretrained(transformers, tmp_path / "adapter").eval()
    torch.testing.assert_close(tuned(tokens).logits, logits, atol=2e-4, rtol=0)


def _train(model: nn.Module, checkpoint: Path) -> None:
    """Give all adapters values, and write them as a checkpoint does."""
    generator = torch.Generator().manual_seed(3)
    layers: dict[str, dict[str, torch.Tensor]] = defaultdict(dict)
    for name, parameter in model.named_parameters():
        if is_adapter(name):
            layers[layer_file(name)][name] = parameter.normal_(std=0.05, generator=generator).detach()
    for file, tensors in layers.items():
        write_tensors(tensors, checkpoint / file)


def _logits(model: FrozenBaseModel, tokens: torch.Tensor) -> torch.Tensor:
    positions = torch.arange(tokens.shape[1]).unsqueeze(0)
    masks = model.get_attention_masks(positions)
    logits: torch.Tensor = model.eval()(tokens, positions=positions, attention_masks=masks)
    return logits
