"""Hostile files for the converter's readers: a result or one clear failure, never a crash, never 1 GB.

`python bench/fuzz_readers.py --inputs 1000000 --seed 1`. An input is a valid file with parts of it replaced:
bytes, JSON values, lengths, offsets, names. The unit tests run a shorter one of these.
"""

import argparse
import io
import json
import os
import random
import resource
import shutil
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from cryptography.hazmat.primitives.asymmetric import ec

from finetune_converter.adapter.adapter import open_adapter
from finetune_converter.dcp.folder import DcpFolder
from finetune_converter.failure import Failure, Reason
from finetune_converter.files.json_object import read_json_object
from finetune_converter.merge.architecture import promised_tensors
from finetune_converter.merge.base import check_base
from finetune_converter.model_files.header import HeaderError, parse_header
from finetune_converter.model_files.header_bytes import TensorSpec, encode_header
from finetune_converter.model_files.model_folder import open_model_folder
from finetune_converter.signing.bundle import BundleError, digests_of, signed_bundle, statement_of

SHAPES = {
    "model.layers.0.mlp.experts.0.gate_proj.weight": (8, 4),
    "model.layers.0.mlp.experts.0.up_proj.weight": (8, 4),
    "model.layers.0.mlp.experts.0.down_proj.weight": (4, 8),
    "model.layers.0.self_attn.o_proj.weight": (4, 4),
}
HOSTILE: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**64, 10**400, -(10**30), 1.5, 1e308, float("nan"),
    float("inf"), "", "..", "../../etc/passwd", "/etc/passwd", "a\0b", "\ud800", "x" * 5000, "F4", "BF16",
    [], {}, [[]], [0, 0], [8, 4], [1] * 40, [-1, 8], [2**40, 2**40], {"a": {"a": {}}}, "*[", ".safetensors",
)  # fmt: skip
LARGE_EACH = 50_000
"""One input in so many is of several MB."""


class Fuzzer:
    """Draws inputs from one seed and keeps count of what became of them."""

    def __init__(self, seed: int, folder: Path) -> None:
        self._dice = random.Random(seed)
        self._folder = folder
        self.outcomes: Counter[str] = Counter()
        self.crashes: list[dict[str, str]] = []
        self._checkpoint, self._part = _checkpoint(folder), ".metadata"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._bundle = signed_bundle(statement_of({"config.json": "0" * 64}, "model.sig"), self._key)
        self._whole = self._file_of(promised_tensors(_base_config()))

    def run(self, count: int) -> None:
        readers: list[tuple[Callable[[bytes], object], Callable[[], bytes], int]] = [
            (self._header, self._any_file, 60),
            (self._json, lambda: self._document(_config()), 15),
            (self._model, lambda: self._file(_model_specs()), 15),
            (self._adapter, lambda: self._file(_adapter_specs()), 10),
            (self._dcp, lambda: self._checkpoint[self._part], 10),
            (self._base, lambda: self._document(_base_config()), 10),
            (self._signature, lambda: self._document(self._bundle), 5),
        ]
        weights = [weight for *_, weight in readers]
        for index in range(count):
            read, make, _ = self._dice.choices(readers, weights)[0]
            large = index % LARGE_EACH == LARGE_EACH - 1
            self._try(read, self._large() if large else self._corrupted(make()))

    def _try(self, read: Callable[[bytes], object], content: bytes) -> None:
        name = read.__name__.strip("_")
        try:
            read(content)
            self.outcomes[f"{name}: read"] += 1
        except (Failure, HeaderError, BundleError) as error:
            if "\n" in str(error) or len(str(error)) > 4000:
                self._crashed(name, content, f"a message of {len(str(error))} characters or several lines")
            self.outcomes[f"{name}: refused"] += 1
        except Exception:
            self._crashed(name, content, traceback.format_exc(limit=-3))

    def _crashed(self, name: str, content: bytes, error: str) -> None:
        self.outcomes[f"{name}: crashed"] += 1
        if len(self.crashes) < 10:
            self.crashes.append({"reader": name, "input": repr(content[:2000]), "error": error})

    # --- readers --------------------------------------------------------------------------------------

    def _header(self, content: bytes) -> None:
        file = io.BytesIO(content)
        parse_header(file.read(8), len(content), file.read)

    def _json(self, content: bytes) -> None:
        (self._folder / "config.json").write_bytes(content)
        read_json_object(self._folder / "config.json", Reason.BASE_INVALID, "Fetch it again")

    def _model(self, content: bytes) -> None:
        """A model folder of one file, whose index is corrupted too."""
        (self._folder / "model-1.safetensors").write_bytes(content)
        index = {"metadata": {}, "weight_map": dict.fromkeys(SHAPES, "model-1.safetensors")}
        (self._folder / "config.json").write_text('{"model_type": "deepseek_v3"}')
        (self._folder / "model.safetensors.index.json").write_bytes(self._document(index))
        open_model_folder(self._folder).close()

    def _adapter(self, content: bytes) -> None:
        (self._folder / "adapter_model.safetensors").write_bytes(content)
        (self._folder / "adapter_config.json").write_bytes(self._document(_config()))
        open_adapter(self._folder, SHAPES, {}).file.close()

    def _dcp(self, content: bytes) -> None:
        """A torchtitan checkpoint, one of its two files corrupted."""
        for name, whole in self._checkpoint.items():
            (self._folder / name).write_bytes(content if name == self._part else whole)
        self._part = self._dice.choice([*self._checkpoint])
        with DcpFolder(self._folder) as folder:
            for tensor in folder.tensors.values():
                if tensor.shape and tensor.shape[0] < 100:
                    folder.read(tensor, 0, tensor.shape[0])

    def _base(self, content: bytes) -> None:
        """config.json of a whole model, as the merge understands it."""
        (self._folder / "model.safetensors").write_bytes(self._whole)
        (self._folder / "model.safetensors.index.json").unlink(missing_ok=True)
        (self._folder / "config.json").write_bytes(content)
        with open_model_folder(self._folder) as base:
            check_base(base)

    def _signature(self, content: bytes) -> None:
        (self._folder / "model.sig").write_bytes(content)
        bundle = read_json_object(self._folder / "model.sig", Reason.VERIFICATION_FAILED, "Sign it again")
        digests_of(bundle, self._key.public_key())

    # --- inputs ---------------------------------------------------------------------------------------

    def _any_file(self) -> bytes:
        specs = self._dice.choice((_model_specs(), _adapter_specs()))
        return self._file(self._dice.sample(specs, self._dice.randint(0, 4)))

    def _file(self, specs: list[TensorSpec]) -> bytes:
        """A safetensors file, one tensor of it another and its JSON corrupted now and then."""
        dice = self._dice
        if specs and dice.random() < 0.3:
            dtype, shape = dice.choice(("U8", "BF16", "F32", "F8_E4M3")), _shape(dice)
            specs[dice.randrange(len(specs))] = TensorSpec(
                name=specs[-1].name + ".x", dtype=dtype, shape=shape
            )
        header = encode_header(specs, {"format": "pt"})
        data = bytes(sum(spec.nbytes for spec in specs))
        if dice.random() < 0.5:
            text = self._document(json.loads(header[8:]))
            header = len(text).to_bytes(8, "little") + text
        return header + data

    def _file_of(self, tensors: Iterable[tuple[str, tuple[int, ...]]]) -> bytes:
        specs = [TensorSpec(name=name, dtype="BF16", shape=shape) for name, shape in tensors]
        return encode_header(specs, {}) + bytes(sum(spec.nbytes for spec in specs))

    def _document(self, content: Any) -> bytes:
        """JSON with up to three values replaced, renamed, doubled or removed."""
        for _ in range(self._dice.randint(0, 3)):
            content = self._replaced(content)
        return json.dumps(content, ensure_ascii=self._dice.random() < 0.5).encode("utf-8", "surrogatepass")

    def _replaced(self, content: Any) -> Any:
        dice = self._dice
        if not isinstance(content, dict | list) or not content or dice.random() < 0.1:
            return dice.choice(HOSTILE)
        if isinstance(content, list):
            place = dice.randrange(len(content))
            return [*content[:place], self._replaced(content[place]), *content[place + dice.randint(0, 1) :]]
        name = dice.choice([*content])
        changed = {**content, name: self._replaced(content[name])}
        if dice.random() < 0.2:
            other = dice.choice(HOSTILE)
            changed[other if isinstance(other, str) else "x"] = changed.pop(name)
        return changed

    def _corrupted(self, content: bytes) -> bytes:
        """Bytes flipped, cut off, put in or said to be more."""
        dice, changed = self._dice, bytearray(content)
        for _ in range(dice.choice((0, 0, 1, 2, 8))):
            place = dice.randrange(len(changed) + 1)
            match dice.randrange(4):
                case 0 if place < len(changed):
                    changed[place] ^= 1 << dice.randrange(8)
                case 1:
                    del changed[place:]
                case 2:
                    changed[place:place] = dice.randbytes(dice.randint(1, 16))
                case _:
                    changed[:8] = dice.choice((0, 1, 2**20, 2**40, 2**63, 2**64 - 1)).to_bytes(8, "little")
        return bytes(changed)

    def _large(self) -> bytes:
        size = self._dice.randint(1, 15) * 2**20
        text = self._dice.choice((b"[", b'{"a":', b"9", b'{"a":[0,0,0,0,', b'"\\u0000')) * (size // 8)
        return len(text[:size]).to_bytes(8, "little") + text[:size]


def _checkpoint(folder: Path) -> dict[str, bytes]:
    """The files of a small DCP folder, by torch itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        state = {"norm.weight": torch.ones(4), "lm_head.weight": torch.ones(4, 3), "train_state": {"step": 1}}
        dcp.save(state, checkpoint_id=folder / "step", no_dist=True)
    return {file.name: file.read_bytes() for file in (folder / "step").iterdir()}


def _model_specs() -> list[TensorSpec]:
    return [TensorSpec(name=name, dtype="BF16", shape=shape) for name, shape in SHAPES.items()]


def _adapter_specs() -> list[TensorSpec]:
    specs = []
    for name, (rows, columns) in SHAPES.items():
        module = f"base_model.model.{name.removesuffix('.weight')}"
        specs += [
            TensorSpec(name=f"{module}.lora_A.weight", dtype="F32", shape=(2, columns)),
            TensorSpec(name=f"{module}.lora_B.weight", dtype="F32", shape=(rows, 2)),
        ]
    return specs


def _config() -> dict[str, Any]:
    return {
        "peft_type": "LORA", "r": 2, "lora_alpha": 4, "use_rslora": False, "bias": "none",
        "rank_pattern": {"o_proj": 2}, "alpha_pattern": {"o_proj": 4}, "modules_to_save": None,
        "target_modules": ["o_proj", "gate_proj", "up_proj", "down_proj"],
    }  # fmt: skip


def _base_config() -> dict[str, Any]:
    return {
        "model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"], "hidden_act": "silu",
        "vocab_size": 8, "hidden_size": 8, "intermediate_size": 8, "moe_intermediate_size": 4,
        "num_hidden_layers": 2, "first_k_dense_replace": 1, "num_attention_heads": 2,
        "num_key_value_heads": 2, "n_shared_experts": 1, "n_routed_experts": 2, "n_group": 1, "topk_group": 1,
        "num_experts_per_tok": 1, "q_lora_rank": 4, "kv_lora_rank": 4, "qk_rope_head_dim": 2,
        "qk_nope_head_dim": 2, "v_head_dim": 2,
        "tie_word_embeddings": False, "rope_scaling": {"type": "yarn", "factor": 4},
    }  # fmt: skip


def _shape(dice: random.Random) -> tuple[int, ...]:
    return tuple(dice.choice((2, 4, 8)) for _ in range(dice.choice((0, 1, 2, 2, 2, 2, 3))))


def fuzz(inputs: int, seed: int) -> dict[str, Any]:
    """What became of so many inputs."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
    fuzzer, begin = Fuzzer(seed, folder), time.monotonic()
    try:
        fuzzer.run(inputs)
    finally:
        shutil.rmtree(folder)
    return {
        "inputs": inputs,
        "seed": seed,
        "seconds": round(time.monotonic() - begin, 1),
        "peakRssBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "outcomes": dict(sorted(fuzzer.outcomes.items())),
        "crashes": fuzzer.crashes,
    }


def main() -> None:
    # The report names versions of packages that a reader does not import.
    from report import write_report

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    figures = fuzz(options.inputs, options.seed)
    write_report("fuzz-readers", figures, packages=("torch",))
    if figures["crashes"] or figures["peakRssBytes"] >= 10**9:
        raise SystemExit("error: a reader crashed, or took 1 GB")


if __name__ == "__main__":
    main()
