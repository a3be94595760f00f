"""torchtitan's configuration as dotted keys: TOML of 0.2, or the JSON of 0.3's debug.save_config_file."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from finetune_operator.torchtitan.keys import ALIASES

Keys = dict[str, Any]


class ConfigFileError(Exception):
    """What is wrong with the file, and what to do, in one line."""


def read_config_file(file: Path) -> tuple[Keys, dict[str, str]]:
    """Return its keys as torchtitan 0.3 spells them, and how the file spells each. Raises ConfigFileError."""
    keys: Keys = {}
    spelled: dict[str, str] = {}
    for written, value in _flat(_parsed(file)):
        key = ALIASES.get(written, written)
        if key in keys and keys[key] != value:
            raise ConfigFileError(
                f"{file}: {written} and {spelled[key]} are the same setting and differ; remove one"
            )
        keys[key], spelled[key] = value, written
    return keys, spelled


def _parsed(file: Path) -> Mapping[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        document = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise ConfigFileError(
            f"{file}: is no {file.suffix[1:].upper() or 'TOML'} ({error}); correct it"
        ) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise ConfigFileError(f"{file}: is no text in UTF-8; give a configuration of torchtitan's") from error
    except OSError as error:
        raise ConfigFileError(f"{file}: cannot be read ({error.strerror}); check the path") from error
    if not isinstance(document, dict) or not document:
        raise ConfigFileError(f"{file}: holds no settings; give a configuration of torchtitan's")
    return document


def _flat(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the settings of a document; those of 0.3's saved model and optimizer as 0.2 has them."""
    for name, value in document.items():
        path = f"{prefix}{name}"
        if path == "model_spec" and isinstance(value, dict):
            yield from ((f"{path}.{part}", value[part]) for part in ("name", "flavor") if part in value)
            yield from _lora_of(value)
        elif path == "optimizer" and isinstance(value, dict) and "param_groups" in value:
            yield from _adamw_of(value["param_groups"])
        elif (
            path == "activation_checkpoint" and isinstance(value, dict | None) and "mode" not in (value or {})
        ):
            yield "activation_checkpoint.mode", _mode_of(value)
        elif isinstance(value, dict):
            yield from _flat(value, f"{path}.")
        else:
            yield path, value


def _adamw_of(groups: Any) -> Iterator[tuple[str, Any]]:
    """Yield what 0.2 says of the optimizer, where 0.3 has one group of parameters."""
    if not isinstance(groups, list) or len(groups) != 1 or not isinstance(groups[0], dict):
        yield "optimizer.param_groups", groups
        return
    yield "optimizer.name", groups[0].get("optimizer_name", "AdamW")
    for name, value in (groups[0].get("optimizer_kwargs") or {}).items():
        if name == "betas" and isinstance(value, list) and len(value) == 2:
            yield from (("optimizer.beta1", value[0]), ("optimizer.beta2", value[1]))
        else:
            yield f"optimizer.{name}", value


def _mode_of(saved: Mapping[str, Any] | None) -> str:
    """Return the mode of activation checkpointing: 0.3's is a class, of which the fields are saved."""
    if saved is None:
        return "none"
    if "memory_budget" in saved:
        return "memory_budget"
    return "selective" if "force_recompute_mm_shapes_by_fqns" in saved else "full"


def _lora_of(model_spec: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield rank, alpha and targets of the layers that 0.3's LoRAConverter adapted."""
    found = {(at, layer["rank"], layer["alpha"]) for at, layer in _lora_layers(model_spec.get("model"))}
    if found:
        ranks, alphas = {rank for _, rank, _ in found}, {alpha for _, _, alpha in found}
        yield "lora.rank", ranks.pop() if len(ranks) == 1 else sorted(ranks)
        yield "lora.alpha", alphas.pop() if len(alphas) == 1 else sorted(alphas)
        yield "lora.target_modules", sorted({at for at, _, _ in found})


def _lora_layers(node: Any, name: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(node, list):
        for item in node:
            yield from _lora_layers(item, name)
    elif isinstance(node, dict):
        if {"rank", "alpha"} <= node.keys():
            yield name, node
        for key, value in node.items():
            yield from _lora_layers(value, key)
