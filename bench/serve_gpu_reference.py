"""transformers on dequantised weights, in float32 on a GPU: what served answers are compared with.

Layer by layer, each variant of the weights with states of its own: `base`; base + adapter unmerged, whole
or some modules of it; base + any other adapter by its name; base + an adapter of the experts; `merged` and
`tuned`, from their own files. Only attention differs between them, but for the experts of `experts`.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import DeepseekV3Config
from transformers.models.deepseek_v3.modeling_deepseek_v3 import (
    DeepseekV3DecoderLayer,
    DeepseekV3RMSNorm,
    DeepseekV3RotaryEmbedding,
)

from serve_gpu_answers import Answers, Reading, reading_of

Weights = Callable[[str], torch.Tensor]
"""A weight in float32, by its name."""
GATED = ("gate_proj", "up_proj", "down_proj")
EVERY = ("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj")
PARTS = {
    "base": (),
    "all": EVERY,
    "all but kv_b_proj": tuple(name for name in EVERY if name != "kv_b_proj"),
    "kv_b_proj": ("kv_b_proj",),
    "o_proj": ("o_proj",),
}
"""Variants of the unmerged adapter: the modules that are applied."""
_BLOCK = 128


class Files:
    """A folder of safetensors, dequantised on the GPU."""

    def __init__(self, folder: Path, device: str) -> None:
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        self._map: Mapping[str, str] = index["weight_map"]
        self._open: dict[str, Any] = {}
        self._folder, self._device = folder, device

    def __call__(self, name: str) -> torch.Tensor:
        """The tensor in float32."""
        weight = self._read(name)
        if weight.dtype != torch.float8_e4m3fn:
            return weight.float()
        scales = self._read(f"{name}_scale_inv").repeat_interleave(_BLOCK, 0).repeat_interleave(_BLOCK, 1)
        return weight.float() * scales[: weight.shape[0], : weight.shape[1]]

    def _read(self, name: str) -> torch.Tensor:
        file = self._map[name]
        if file not in self._open:
            self._open[file] = safe_open(self._folder / file, framework="pt", device=self._device)
        tensor: torch.Tensor = self._open[file].get_tensor(name)
        return tensor


class Adapter:
    """A PEFT folder: what it adds to each weight."""

    def __init__(self, folder: Path, device: str) -> None:
        config = json.loads((folder / "adapter_config.json").read_text())
        self._scale = config["lora_alpha"] / config["r"]
        with safe_open(folder / "adapter_model.safetensors", framework="pt", device=device) as file:
            self._tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118

    def update(self, name: str, modules: Sequence[str]) -> torch.Tensor | float:
        """Of a weight; 0 where there is none, or its module is not one of `modules`."""
        prefix = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{prefix}.lora_A.weight" not in self._tensors or prefix.rsplit(".", 1)[1] not in modules:
            return 0.0
        down, up = (self._tensors[f"{prefix}.lora_{side}.weight"] for side in "AB")
        product: torch.Tensor = up @ down
        return product.mul_(self._scale)


@torch.no_grad()
def read_texts(
    base: Files,
    attention: Mapping[str, Weights],
    config: DeepseekV3Config,
    texts: list[list[int]],
    device: str,
    experts: Adapter | None = None,
) -> dict[str, list[Reading]]:
    """By variant; `attention` has the weights in which variants differ.

    experts: an adapter of the routed experts, beside the base's attention: the variant `experts`.
    """
    # Padded on the right, where no token of a causal model looks.
    tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(text) for text in texts], batch_first=True)
    embedded = base("model.embed_tokens.weight")[tokens.to(device)]
    states = dict.fromkeys([*attention, *(["experts"] if experts else [])], embedded)
    length = tokens.shape[1]
    positions = torch.arange(length, device=device)[None]
    rotary = DeepseekV3RotaryEmbedding(config).to(device)
    inputs = {
        "attention_mask": torch.full((length, length), float("-inf"), device=device).triu(1)[None, None],
        "position_ids": positions,
        "position_embeddings": rotary(embedded, positions),
    }
    for index in range(config.num_hidden_layers):
        layer, prefix = _layer(config, index, base, device), f"model.layers.{index}.self_attn."
        for variant, weights in attention.items():
            for name, parameter in layer.self_attn.named_parameters():
                if "norm" not in name:
                    parameter.copy_(weights(prefix + name))
            states[variant] = _forward(layer, states[variant], inputs)
        if experts:
            for name, parameter in layer.self_attn.named_parameters():
                if "norm" not in name:
                    parameter.copy_(attention["base"](prefix + name))
            if hasattr(layer.mlp, "experts"):
                _fill_experts(layer.mlp.experts, index, lambda name: base(name) + experts.update(name, GATED))
            states["experts"] = _forward(layer, states["experts"], inputs)
        del layer
    norm = DeepseekV3RMSNorm(config.hidden_size, eps=config.rms_norm_eps).to(device)
    norm.weight.copy_(base("model.norm.weight"))
    head = base("lm_head.weight")
    return {
        variant: [
            reading_of(norm(state[: len(text) - 1]) @ head.T, text)
            for state, text in zip(kept, texts, strict=True)
        ]
        for variant, kept in states.items()
    }


def _forward(layer: Any, states: torch.Tensor, inputs: Mapping[str, Any]) -> torch.Tensor:
    """In parts: attention of 128 heads in float32 takes memory."""
    return torch.cat([layer(part, **inputs) for part in torch.split(states, 32)])


def _with_adapter(base: Files, adapter: Adapter, modules: Sequence[str]) -> Weights:
    return lambda weight: base(weight) + adapter.update(weight, modules)


def _fill_experts(experts: Any, index: int, weight: Weights) -> None:
    prefix = f"model.layers.{index}.mlp.experts."
    for expert, (rows, down) in enumerate(zip(experts.gate_up_proj, experts.down_proj, strict=True)):
        for half, side in zip(rows.chunk(2), ("gate_proj", "up_proj"), strict=True):
            half.copy_(weight(f"{prefix}{expert}.{side}.weight"))
        down.copy_(weight(f"{prefix}{expert}.down_proj.weight"))


def _layer(config: DeepseekV3Config, index: int, base: Files, device: str) -> Any:
    with torch.device("meta"):
        layer = DeepseekV3DecoderLayer(config, index).eval()
    layer.to_empty(device=device)
    prefix = f"model.layers.{index}."
    for name, target in layer.state_dict().items():
        if ".experts." not in name:
            target.copy_(base(prefix + name))
    if hasattr(layer.mlp, "experts"):
        _fill_experts(layer.mlp.experts, index, base)
    return layer


def main() -> None:
    arguments = _parse_arguments()
    config = DeepseekV3Config.from_pretrained(arguments.base)
    config._attn_implementation, config._experts_implementation = "eager", "eager"
    base, merged = (Files(folder, arguments.device) for folder in (arguments.base, arguments.merged))
    attention: dict[str, Weights] = {"base": base, "merged": merged}
    if arguments.adapter:
        adapter = Adapter(arguments.adapter, arguments.device)
        attention |= {name: _with_adapter(base, adapter, modules) for name, modules in PARTS.items()}
    for name, _, folder in (each.partition("=") for each in arguments.unmerged):
        attention[name] = _with_adapter(base, Adapter(Path(folder), arguments.device), EVERY)
    if arguments.tuned:
        attention["tuned"] = Files(arguments.tuned, arguments.device)
    experts = Adapter(arguments.experts, arguments.device) if arguments.experts else None
    answers = Answers(arguments.answers, arguments.tokens)
    readings = read_texts(base, attention, config, answers.texts, arguments.device, experts)
    beside = {"all": ("all but kv_b_proj",)}
    result = answers.compared(readings, lambda variant: (variant, "base", *beside.get(variant, ())))
    arguments.out.write_text(json.dumps(result, indent=1))
    print("REFERENCE", json.dumps(result, indent=1), flush=True)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--merged", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, help="what is merged, to be applied in parts too")
    parser.add_argument("--experts", type=Path, help="an adapter of the routed experts")
    parser.add_argument("--tuned", type=Path, help="another merged model")
    parser.add_argument("--unmerged", action="append", default=[], help="VARIANT=FOLDER, another adapter")
    parser.add_argument("--tokens", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("answers", nargs="+", help="FILE=MODEL=VARIANT")
    return parser.parse_args()


if __name__ == "__main__":
    main()
