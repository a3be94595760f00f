"""transformers on dequantised weights, in float32 on a GPU: what served answers are compared with.

Layer by layer, each variant of the weights with states of its own: `base`; base + adapter unmerged, whole
or some modules of it; base + an adapter of the experts; `merged` and `tuned`, from their own files. Only
attention differs between them, but for the experts of `experts`.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a model says of a text: after each token but the last, the likeliest next one, and of the real one
    the log probability."""

    likeliest: list[int]
    logprobs: list[float]


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
            _reading(norm(state[: len(text) - 1]) @ head.T, text)
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


def _reading(logits: torch.Tensor, text: list[int]) -> Reading:
    following = torch.tensor(text[1:], device=logits.device)
    logprobs = logits.log_softmax(-1).gather(1, following[:, None])[:, 0]
    return Reading(likeliest=logits.argmax(-1).tolist(), logprobs=logprobs.tolist())


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


def compare(
    served: Mapping[str, Any], model: str, greedy: list[Reading], chats: list[Reading]
) -> dict[str, Any]:
    """A served model's greedy tokens and log probabilities against transformers'."""
    answers = served[f"greedy {model}"]
    likeliest = [r.likeliest[-len(answer["tokens"]) :] for r, answer in zip(greedy, answers, strict=True)]
    equal = [
        mine == theirs
        for answer, row in zip(answers, likeliest, strict=True)
        for mine, theirs in zip(answer["tokens"], row, strict=True)
    ]
    apart = [
        abs(mine - theirs)
        for answer, reading in zip(answers, greedy, strict=True)
        for mine, theirs in zip(answer["logprobs"], reading.logprobs[-len(answer["logprobs"]) :], strict=True)
    ]
    ours = torch.tensor([value for chat in served[f"chats {model}"] for value in chat])
    theirs = torch.tensor([value for reading in chats for value in reading.logprobs])
    return {
        "greedyTokens": len(equal),
        "equalGreedyShare": round(sum(equal) / len(equal), 4),
        "meanGreedyLogprobGap": round(sum(apart) / len(apart), 4),
        "chatTokens": len(ours),
        "servedNll": round(-float(ours.mean()), 4),
        "referenceNll": round(-float(theirs.mean()), 4),
        "meanChatLogprobGap": round(float((ours - theirs).abs().mean()), 4),
        "medianChatLogprobGap": round(float((ours - theirs).abs().median()), 4),
    }


def main() -> None:
    arguments = _parse_arguments()
    config = DeepseekV3Config.from_pretrained(arguments.base)
    config._attn_implementation, config._experts_implementation = "eager", "eager"
    tokens = json.loads(arguments.tokens.read_text())
    base, merged = (Files(folder, arguments.device) for folder in (arguments.base, arguments.merged))
    attention: dict[str, Weights] = {"base": base, "merged": merged}
    if arguments.adapter:
        adapter = Adapter(arguments.adapter, arguments.device)
        attention |= {name: _with_adapter(base, adapter, modules) for name, modules in PARTS.items()}
    if arguments.trained:
        attention["trained"] = _with_adapter(base, Adapter(arguments.trained, arguments.device), EVERY)
    if arguments.tuned:
        attention["tuned"] = Files(arguments.tuned, arguments.device)
    experts = Adapter(arguments.experts, arguments.device) if arguments.experts else None
    answered = [(Path(file), model, variant) for file, model, variant in map(_split, arguments.answers)]
    served = {file: json.loads(file.read_text()) for file, _, _ in answered}
    texts: list[list[int]] = [*tokens["chats"]]
    for file, model, _ in answered:
        answers = served[file][f"greedy {model}"]
        texts += [prompt + a["tokens"] for prompt, a in zip(tokens["prompts"], answers, strict=True)]
    readings = read_texts(base, attention, config, texts, arguments.device, experts)
    result: dict[str, Any] = {}
    chats, count = len(tokens["chats"]), len(tokens["prompts"])
    for place, (file, model, variant) in enumerate(answered):
        first = chats + place * count
        result.setdefault(f"{file.stem}: {model}", {}).update(
            {
                f"against {name}": compare(
                    served[file], model, readings[name][first : first + count], readings[name][:chats]
                )
                for name in dict.fromkeys(
                    (variant, "base", *(["all but kv_b_proj"] if variant == "all" else []))
                )
            }
        )
    arguments.out.write_text(json.dumps(result, indent=1))
    print("REFERENCE", json.dumps(result, indent=1), flush=True)


def _split(answers: str) -> tuple[str, str, str]:
    file, model, variant = answers.split("=")
    return file, model, variant


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--merged", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, help="what is merged, to be applied in parts too")
    parser.add_argument("--experts", type=Path, help="an adapter of the routed experts")
    parser.add_argument("--tuned", type=Path, help="another merged model")
    parser.add_argument("--trained", type=Path, help="the adapter of that one, unmerged")
    parser.add_argument("--tokens", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("answers", nargs="+", help="FILE=MODEL=VARIANT")
    return parser.parse_args()


if __name__ == "__main__":
    main()
