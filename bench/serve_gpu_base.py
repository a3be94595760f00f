"""A base of DeepSeek-V3's widths, two layers and the MTP layer, random, in FP8, and a tokenizer: 29 GB."""

import importlib
import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any, BinaryIO

import torch

from deepseek_v3 import DeepSeekV3, write_base
from finetune_converter.model_files.header_bytes import TensorSpec
from full_width_base import CONFIG

ROOT = Path(__file__).parents[1]
MODEL = DeepSeekV3(layers=2, dense_layers=1)
TRAINED_TOKENS = 512
FOLLOWING = 0.1
_POOL = 129280 * 7168 + 4096
_FP8 = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}


def main(folder: Path) -> None:
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    write_base(partial, MODEL, UnitFill())
    config = CONFIG | {"num_nextn_predict_layers": int(MODEL.mtp), "quantization_config": _FP8}
    config["moe_layer_freq"] = 1  # as published, and SGLang does not start without it
    (partial / "config.json").write_text(json.dumps(config))
    (partial / "generation_config.json").write_text(json.dumps({"bos_token_id": 0, "eos_token_id": 1}))
    write_tokenizer(partial)
    partial.rename(folder)


class UnitFill:
    """Weights that keep the size of what passes through them, cut from one pool of normal numbers."""

    def __init__(self) -> None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        generator = torch.Generator(device).manual_seed(0)
        pool = torch.randn(_POOL, device=device, generator=generator, dtype=torch.float16)
        self._float8 = pool.to(torch.float8_e4m3fn).cpu()
        self._bfloat16 = pool.bfloat16().cpu()
        self._starts = torch.Generator().manual_seed(1)

    def __call__(self, file: BinaryIO, spec: TensorSpec) -> None:
        """Write a tensor."""
        file.write(memoryview(self._values(spec).contiguous().view(torch.uint8).numpy()))  # type: ignore[arg-type]

    def _values(self, spec: TensorSpec) -> torch.Tensor:
        count = math.prod(spec.shape)
        if spec.name.endswith("_scale_inv"):
            return torch.full((count,), (128 * spec.shape[1]) ** -0.5)
        if spec.dtype == "F32":
            return torch.zeros(count)
        if "norm" in spec.name:
            return torch.ones(count, dtype=torch.bfloat16)
        if "embed_tokens" in spec.name:
            return self._embeddings(spec)
        if spec.name.endswith("eh_proj.weight"):
            return _left_identity(spec.shape[0]).flatten()
        start = int(torch.randint(4096, (), generator=self._starts))
        if spec.dtype == "F8_E4M3":
            return self._float8[start : start + count]
        values = self._bfloat16[start : start + count]
        if spec.name.endswith(("lm_head.weight", "shared_head.head.weight")):
            values = self._head(spec)
        return values.mul(float(spec.shape[-1]) ** -0.5)

    def _embeddings(self, spec: TensorSpec) -> torch.Tensor:
        return self._bfloat16[: math.prod(spec.shape)]

    def _head(self, spec: TensorSpec) -> torch.Tensor:
        """Rows of their own, and a little of the embedding of the token before: what follows a token is
        likely, and the multi-token layer can know it."""
        rows, width = spec.shape
        own = self._bfloat16[4000 : 4000 + rows * width]
        before = self._embeddings(spec).view(rows, width).roll(1, 0).flatten()
        return own.add(before, alpha=FOLLOWING)


def _left_identity(width: int) -> torch.Tensor:
    """[width, 2 width]: the embedding goes on, the state before it does not."""
    return torch.cat((torch.eye(width), torch.zeros(width, width)), dim=1).bfloat16()


def demo_tokenizer() -> Any:
    """Return the module of the demo's tokenizer."""
    sys.path.insert(0, str(ROOT / "examples/tiny_base"))
    return importlib.import_module("tokenizer")


def write_tokenizer(folder: Path) -> None:
    """The demo's, of the demo's questions and answers, and a word for every other row of the embedding."""
    tokenizer = demo_tokenizer().train_tokenizer(
        (message["content"] for chat in chats() for message in chat), vocab_size=TRAINED_TOKENS
    )
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    content["model"]["vocab"] |= {f"w{token}": token for token in range(TRAINED_TOKENS, MODEL.vocabulary)}
    file.write_text(json.dumps(content))


def chats() -> list[list[dict[str, str]]]:
    """The demo's."""
    lines = (ROOT / "examples/data/faq.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["messages"] for line in lines]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
