"""The bundle that torchtitan's trainer builds a model from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from torchtitan.distributed.pipeline_parallel import pipeline_llm
from torchtitan.protocols.model_spec import ModelSpec

from finetune_trainer.model.converter import LoRAConverter
from finetune_trainer.model.flavors import build_model_config
from finetune_trainer.model.frozen.settings import AS_PRECISION, FrozenSettings
from finetune_trainer.model.lora.settings import LoRASettings
from finetune_trainer.model.parallelize import parallelize


def lora_model_spec(
    flavor: str,
    *,
    lora: LoRASettings,
    targets: Sequence[str],
    base_dtype: Literal["bfloat16", "float32"],
    device: str,
    frozen: FrozenSettings = AS_PRECISION,
    attention: str = "dense",
    base: Path | None = None,
) -> ModelSpec:
    """A flavour with adapters on `targets`, and the rope of `base`, once that folder has a config.json.

    Raises ConfigurationError for an unknown flavour or target, DataError for a base that is not trained here.
    """
    config = build_model_config(flavor, device=device, attention=attention, base=base)
    converter = LoRAConverter.Config(lora=lora, targets=tuple(targets), base_dtype=base_dtype, frozen=frozen)
    return ModelSpec(
        name="deepseek_v3",
        flavor=flavor,
        model=converter.build().convert(config),
        parallelize_fn=parallelize,
        pipelining_fn=pipeline_llm,
        # torchtitan's hook here moves the router's expert bias at every step; a frozen base has none.
        post_optimizer_build_fn=None,
        # Base and adapters are read and written by `base` and `checkpoint`, each in its own files.
        state_dict_adapter=None,
    )
