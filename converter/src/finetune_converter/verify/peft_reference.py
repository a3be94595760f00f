"""What PEFT makes of an adapter: which tensors it changes, by which factors and at what scale.

PEFT itself reads adapter_config.json, finds its targets in transformers' model, stacks the adapters of
experts and scales them. Its model has no memory: the base's weights are one zero, spread, and the adapter's
matrices are loaded for one layer at a time. For 671B and rank 16 that is 0.5 GB.
"""

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from torch import nn

from finetune_converter.failure import Failure, Reason
from finetune_converter.model_files.header import TensorEntry
from finetune_converter.model_files.tensor_file import TensorFile
from finetune_converter.verify.adapter_settings import is_grouped_by_expert, read_lora_config
from finetune_converter.verify.architecture import STACKED, architecture_of

WEIGHTS = "adapter_model.safetensors"
_ADAPTER = "default"
_PREFIX = "base_model.model."
_LAYER = re.compile(r"model\.layers\.(\d+)(\.|$)")
_WRAPPER = re.compile(r"\.(base_layer|modules_to_save(\.default)?)(?=\.[^.]+$)")
_STACKED_B = re.compile(r"\.experts(\.base_layer)*\.lora_B\.")


@dataclass(frozen=True, kw_only=True)
class Factors:
    """fp32 b [rows, rank] and a [rank, columns]: PEFT adds scale * b @ a, and with DoRA's magnitude [rows]
    scales each row of the sum to that norm."""

    b: torch.Tensor
    a: torch.Tensor
    scale: float
    magnitude: torch.Tensor | None = None

    @property
    def rank(self) -> int:
        return self.a.shape[0]

    def update(self, start: int, stop: int) -> torch.Tensor:
        """fp32 [stop - start, columns]."""
        return torch.mm(self.b[start:stop], self.a) * self.scale

    def products(self, start: int, stop: int) -> torch.Tensor:
        """scale |b| |a|, element by element: what no sum of products can exceed."""
        rows, columns = (
            torch.linalg.vector_norm(self.b[start:stop], dim=1),
            torch.linalg.vector_norm(self.a, dim=0),
        )
        return torch.outer(rows, columns) * abs(self.scale)


@dataclass(frozen=True, kw_only=True)
class Change:
    """What an adapter does to one tensor: brings it whole (`modules_to_save`), adds to it, or both."""

    whole: TensorEntry | None = None
    factors: Factors | None = None


class PeftReference:
    """An adapter folder as PEFT understands it. Close when done."""

    def __init__(self, folder: Path, config: Any) -> None:
        """Raises Failure(AdapterInvalid) for an adapter that is no plain LoRA, or that PEFT refuses."""
        self._folder = folder
        lora = read_lora_config(folder)
        self._dora = lora.use_dora
        self._grouped, self._experts = is_grouped_by_expert(folder), config.n_routed_experts
        self.file = TensorFile(folder / WEIGHTS)
        self._keys: dict[int | None, list[TensorEntry]] = {}
        self._whole: dict[str, TensorEntry] = {}
        for entry in self.file.header.tensors.values():
            if ".lora_" in entry.name:
                self._keys.setdefault(layer_of(entry.name.removeprefix(_PREFIX)), []).append(entry)
            else:
                self._whole[_WRAPPER.sub("", entry.name.removeprefix(_PREFIX))] = entry
        # Multi-token prediction is no part of transformers' model: its layers are added if they are adapted.
        extra = max((layer for layer in self._keys if layer is not None), default=0) + 1
        extra = min(extra - config.num_hidden_layers, getattr(config, "num_nextn_predict_layers", 0) or 0)
        with self._peft():
            model = _weightless(config, max(0, extra))
            self._model: PeftModel = get_peft_model(model, lora, low_cpu_mem_usage=True)
        self.lost = self._load_names()
        """Modules that adapter_config.json names and the file has nothing for: they stay the base's."""

    def __enter__(self) -> "PeftReference":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def changes(self, layer: int | None) -> dict[str, Change]:
        """By tensor of the base: those of a decoder layer, or those outside of all. Raises Failure."""
        whole = {name: entry for name, entry in self._whole.items() if layer_of(name) == layer}
        factors = dict(self._factors(layer)) if layer in self._keys else {}
        return {
            name: Change(whole=whole.get(name), factors=factors.get(name))
            for name in whole.keys() | factors.keys()
        }

    def changed(self) -> frozenset[str]:
        """Every tensor of the base that the adapter changes, found without its values."""
        named = (
            _tensors_of(path, module) for path, module in self._adapted() if layer_of(path) in self._keys
        )
        return frozenset(self._whole).union(*named)

    def _load_names(self) -> frozenset[str]:
        """Let PEFT load shapes alone, of all layers at once; the modules that it finds nothing for."""
        meta = {e.name: torch.empty(e.shape, device="meta") for e in self._lora_entries()}
        missing, unexpected = self._load(meta)
        if unexpected:
            raise self._invalid(f"PEFT adapts nothing with {_plain(unexpected[0])!r} of the file")
        sides: dict[str, set[str]] = {}
        for name in missing:
            module, found, side = name.rpartition(".lora_")
            if found:
                sides.setdefault(module, set()).add(side)
        for module, lost in sides.items():
            if len(lost) < (3 if self._dora else 2):
                raise self._invalid(f"{_plain(module)!r} has no lora_{_plain(lost.pop())}")
        return frozenset(sides)

    def _lora_entries(self) -> Iterator[TensorEntry]:
        for entries in self._keys.values():
            yield from entries

    def _load(self, state: Mapping[str, torch.Tensor]) -> tuple[list[str], list[str]]:
        """What PEFT misses of its model, and what it does not know of `state`."""
        # PEFT demands the modules saved whole at every load; they are read elsewhere, so without memory here.
        saved = {
            entry.name: torch.empty(entry.shape, device="meta")
            for entry in self._whole.values()
            if ".base_layer." not in entry.name
        }
        with self._peft():
            result: Any = set_peft_model_state_dict(self._model, {**state, **saved}, low_cpu_mem_usage=True)
        return result.missing_keys, result.unexpected_keys

    def _factors(self, layer: int | None) -> Iterator[tuple[str, Factors]]:
        state = {entry.name: self._read(entry) for entry in self._keys[layer]}
        self._load(state)
        for path, module in self._adapted():
            if layer_of(path) == layer:
                yield from zip(_tensors_of(path, module), _factors_of(module), strict=True)
                _forget(module)

    def _read(self, entry: TensorEntry) -> torch.Tensor:
        """fp32, laid out as PEFT has it: column i of every expert of a stacked lora_B, then column i + 1."""
        values = self.file.read(entry).float()
        if not self._grouped or not _STACKED_B.search(entry.name):
            return values
        return values.unflatten(1, (self._experts, -1)).transpose(1, 2).flatten(1)  # type: ignore[no-untyped-call,no-any-return]

    def _adapted(self) -> Iterator[tuple[str, Any]]:
        """Every module that PEFT adapts with something of the file, by its name in the base."""
        for name, module in self._model.named_modules():
            if isinstance(module, LoraLayer) and name not in self.lost:
                yield re.sub(r"(\.base_layer)+$", "", name.removeprefix(_PREFIX)), module

    def _peft(self) -> "_PeftErrors":
        return _PeftErrors(self._folder)

    def _invalid(self, fault: str) -> Failure:
        return _invalid(self._folder, fault)


class _PeftErrors:
    """Turns what PEFT raises into a failure that names the adapter; what it warns of is checked here."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._warnings = warnings.catch_warnings(action="ignore")

    def __enter__(self) -> None:
        self._warnings.__enter__()

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._warnings.__exit__(None, None, None)
        if isinstance(error, KeyError):
            raise _invalid(self._folder, f"PEFT finds no {error.args[0]!r:.200} in the file") from error
        if isinstance(error, (ValueError, RuntimeError, TypeError, AttributeError)):
            raise _invalid(self._folder, f"PEFT cannot load it: {str(error)[:300]}") from error


def _invalid(folder: Path, fault: str) -> Failure:
    return Failure(
        f"{folder}: {fault}", Reason.ADAPTER_INVALID, "Write the adapter again with PEFT, for this base"
    )


def _weightless(config: Any, extra: int) -> Any:
    """transformers' model, with `extra` layers more, of weights that take no memory."""
    architecture = architecture_of(config)
    deep = architecture.config.from_dict(
        {**config.to_dict(), "num_hidden_layers": config.num_hidden_layers + extra, "layer_types": None}
    )
    with torch.device("meta"):
        model: nn.Module = architecture.model(deep)
    # PEFT puts an adapter where its base layer is: that must be the host, and not "meta".
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            zero = torch.zeros((), dtype=torch.float32).expand(parameter.shape)
            setattr(module, name, nn.Parameter(zero, requires_grad=False))
    return model


def _tensors_of(path: str, module: Any) -> list[str]:
    """The base's tensors that a module adapts: those of every expert, where transformers stacks them."""
    parameter = getattr(module, "parameter_name", "weight")
    leaves = STACKED.get(parameter)
    if leaves is None:
        return [f"{path}.{parameter}"]
    return [f"{path}.{expert}.{leaf}.weight" for expert in range(module.num_experts) for leaf in leaves]


def _factors_of(module: Any) -> Iterator[Factors]:
    """Those of each of `_tensors_of`."""
    scale = module.scaling[_ADAPTER]
    leaves = STACKED.get(getattr(module, "parameter_name", "weight"))
    if _ADAPTER in module.lora_embedding_A:
        a, b = module.lora_embedding_B[_ADAPTER].T, module.lora_embedding_A[_ADAPTER].T
        yield Factors(a=a.detach(), b=b.detach(), scale=scale)
    elif leaves is None:
        a, b = (side[_ADAPTER].weight.detach() for side in (module.lora_A, module.lora_B))
        magnitudes = module.lora_magnitude_vector
        magnitude = magnitudes[_ADAPTER].weight.detach() if _ADAPTER in magnitudes else None
        yield Factors(a=a, b=b, scale=scale, magnitude=magnitude)
    else:
        stacked_b, stacked_a, scale = module.get_delta_factors(_ADAPTER)
        for b, a in zip(stacked_b.detach(), stacked_a.detach(), strict=True):
            yield from (Factors(a=a, b=part, scale=scale) for part in b.chunk(len(leaves)))


def _forget(module: Any) -> None:
    """Give the memory of its matrices back once those who use them are done."""
    parts = (module.lora_A, module.lora_B, module.lora_embedding_A, module.lora_embedding_B)
    for part in (*parts, module.lora_magnitude_vector):
        part.to("meta")


def layer_of(name: str) -> int | None:
    """The decoder layer of a tensor; None outside of all."""
    match = _LAYER.match(name)
    return int(match[1]) if match else None


def _plain(name: str) -> str:
    return name.replace(f".{_ADAPTER}", "")
