"""Where a run's adapter comes from: sources and revisions, versions, machine, checksums."""

import hashlib
import json
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from finetune_trainer.checkpoint.files import saved_steps, sha256
from finetune_trainer.contract.run_file import RunFile, RunFolders

PACKAGES = ("finetune-trainer", "torchtitan", "torch")


def lineage(run: RunFile, run_file: Path, folders: RunFolders) -> dict[str, str]:
    """What can be said of it so far, by the words of the page."""
    prepared = read_json(folders.prepared)
    weights = folders.adapter / "adapter_model.safetensors"
    return {
        "base": _source(prepared.get("base", {}), run.model.uri),
        "dataset": _dataset(prepared.get("dataset", {}), run),
        "dataset, sha256": _checksums(prepared.get("dataset", {})),
        "run file, sha256": hashlib.sha256(run_file.read_bytes()).hexdigest(),
        "adapter, sha256": sha256(weights) if weights.is_file() else "not written yet",
        "checkpoints kept": ", ".join(f"step-{step}" for step in saved_steps(folders.checkpoints)) or "none",
        "processes": f"{run.workers.nodes} x {run.workers.processes_per_node}, {_device(run)}",
        "versions": ", ".join(f"{package} {version(package)}" for package in PACKAGES),
        "written": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
    }


def read_json(file: Path) -> dict[str, Any]:
    """The file's object; an empty one if there is none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _source(prepared: dict[str, Any], uri: str) -> str:
    revision = prepared.get("revision")
    return f"{prepared.get('source', uri)}" + (f", revision {revision}" if revision else "")


def _dataset(prepared: dict[str, Any], run: RunFile) -> str:
    known = prepared.get("sources", [])
    if len(known) != len(run.dataset.sources):
        known = [{}] * len(run.dataset.sources)
    return "; ".join(_source(own, source.uri) for own, source in zip(known, run.dataset.sources, strict=True))


def _checksums(dataset: dict[str, Any]) -> str:
    files = dataset.get("files")
    if not isinstance(files, dict) or not files:
        return "unknown"
    return ", ".join(f"{name} {record['sha256']}" for name, record in files.items())


def _device(run: RunFile) -> str:
    return torch.cuda.get_device_name() if run.workers.device == "cuda" else "CPU"
