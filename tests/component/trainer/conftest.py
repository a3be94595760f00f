import pytest
from torchtitan.distributed import utils as dist_utils

from finetune_trainer.model.converter import LoRAConverter
from finetune_trainer.model.flavors import build_model_config
from finetune_trainer.model.frozen_base import FrozenBaseModel
from finetune_trainer.model.lora.settings import LoRASettings
from finetune_trainer.train.cpu import use_cpu


@pytest.fixture
def plain_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process group and no mesh: modules compute on the tensors they are given."""
    use_cpu()
    monkeypatch.setattr(dist_utils, "_spmd_backend", "partial_dtensor")


@pytest.fixture
def tiny() -> FrozenBaseModel.Config:
    converter = LoRAConverter.Config(
        lora=LoRASettings(rank=16, alpha=32.0),
        targets=("attention", "mlp", "experts"),
        base_dtype="float32",
    )
    return converter.build().convert(build_model_config("tiny_lora", device="cpu"))
