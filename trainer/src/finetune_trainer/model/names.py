"""torchtitan's parameter names and the Hugging Face checkpoint's, one to the other."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torchtitan.models.deepseek_v3 import DeepSeekV3Model
from torchtitan.models.deepseek_v3.state_dict_adapter import DeepSeekV3StateDictAdapter

from finetune_trainer.model.lora.names import base_of_adapter


@dataclass(frozen=True)
class CheckpointNames:
    """Where a model's tensors are in a Hugging Face checkpoint, by torchtitan's own table of names."""

    patterns: Mapping[str, str]

    @classmethod
    def of(cls, model: DeepSeekV3Model.Config) -> "CheckpointNames":
        table = DeepSeekV3StateDictAdapter(model, hf_assets_path=None).from_hf_map
        return cls({titan: hf for hf, titan in table.items()})

    def tensors(self, name: str, num_experts: int) -> list[str]:
        """The checkpoint's tensors of parameter or buffer `name`: one, or one an expert."""
        hf_name, layer = self._find(name)
        if hf_name.count("{}") == 2:
            return [hf_name.format(layer, expert) for expert in range(num_experts)]
        return [hf_name.format(layer)]

    def adapter_modules(self, name: str, num_experts: int) -> list[tuple[str, str]]:
        """Of an adapter parameter: (Hugging Face module, PEFT's name of the part), one or one an expert."""
        base, side = base_of_adapter(name)
        return [(tensor.removesuffix(".weight"), side) for tensor in self.tensors(base, num_experts)]

    def _find(self, name: str) -> tuple[str, str]:
        layer = re.search(r"\d+", name)
        if layer is None:
            return self.patterns[name], ""
        return self.patterns[re.sub(r"\d+", "{}", name, count=1)], layer.group()
