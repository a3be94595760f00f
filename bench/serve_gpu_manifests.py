"""The manifests of `serve_gpu.py`, and an adapter cut to one module."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from finetune_converter.model_files.header_bytes import TensorSpec

STEPS = 20
LENGTH = 8192
SIZE = 0.04
NOTHING: Mapping[str, Any] = MappingProxyType({})
# The merge and the gate leave half of 16 cores to the server that starts beside them.
_THREADS = {"podOverrides": {"env": [{"name": "OMP_NUM_THREADS", "value": "8"}]}}


def job_manifest(
    folder: Path, training: Mapping[str, Any] = NOTHING, *, name: str = "full", **fields: Any
) -> Path:
    """The tuning: attention, so that the expert layers are the base's own files.

    training: more of its training. fields: more of its spec.
    """
    spec: dict[str, Any] = {
        "model": {"uri": "models/base"},
        "flavor": "deepseek_aghilora",
        "dataset": {"uri": "datasets/faq.jsonl"},
        "lora": {"rank": 16, "targets": ["attention"]},
        "training": {
            "steps": STEPS,
            "learningRate": 0.002,
            "warmupSteps": 5,
            "sequenceLength": 1024,
            "microBatchSize": 2,
            "frozenDtype": "float8",
            "frozenArithmetic": "float8",
            "recompute": "none",
            "checkpoint": {"interval": STEPS},
            **training,
        },
        "workers": {"gpuMemory": "80G", **_THREADS},
        "storage": {"claimName": "models"},
        **fields,
    }
    return _write(folder / f"job-{name}.json", "FineTuneJob", name, spec)


def serve_manifest(
    folder: Path,
    name: str,
    *,
    uri: str = "",
    job: str = "",
    file: str = "",
    arguments: list[str],
    variables: Mapping[str, str] = NOTHING,
    **fields: Any,
) -> Path:
    """A server of a job's model or of a folder. fields: more of its spec."""
    model = {"fineTuneJobRef": {"name": job}} if job else {"uri": uri}
    spec: dict[str, Any] = {"model": model, "gpuMemory": "80G", "maxModelLen": LENGTH}
    spec |= {"engineArgs": arguments, **_cache(folder, **variables), **fields}
    spec |= {} if job else {"storage": {"claimName": "models"}}
    return _write(folder / f"serve-{file or name}.json", "ModelDeployment", name, spec)


def adapters_manifest(folder: Path, adapters: dict[str, Path], arguments: list[str], **fields: Any) -> Path:
    """The base with adapters beside it. fields: more of its spec."""
    spec: dict[str, Any] = {
        "model": {"uri": "models/base"},
        "storage": {"claimName": "models"},
        "gpuMemory": "80G",
        "maxModelLen": LENGTH,
        "adapters": [{"name": name.replace("_", "-"), "uri": str(path)} for name, path in adapters.items()],
        "engineArgs": [*arguments, "--max-cpu-loras", "8"],
        **_cache(folder, VLLM_ALLOW_RUNTIME_LORA_UPDATING="True"),
        **fields,
    }
    return _write(folder / "serve-adapters.json", "ModelDeployment", "adapted", spec)


def _cache(folder: Path, **more: str) -> dict[str, Any]:
    """What `cache` does on a cluster, for servers of several storage folders: the same paths at every start.

    And no CUDA compiler, as in images/server."""
    home = folder / "cache"
    env = {"HOME": home, "CUTE_DSL_CACHE_DIR": home / ".cache/cute_dsl", "CUDA_HOME": "/nonexistent", **more}
    return {"podOverrides": {"env": [{"name": name, "value": str(value)} for name, value in env.items()]}}


def small(file: BinaryIO, spec: TensorSpec) -> None:
    """Random numbers of an adapter."""
    file.write(memoryview((torch.randn(spec.shape) * SIZE).numpy()))  # type: ignore[arg-type]


def write_part(adapter: Path, folder: Path, module: str) -> Path:
    """An adapter with the matrices of one module alone."""
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((adapter / "adapter_config.json").read_text())
    modules = ["gate_proj", "up_proj", "down_proj"] if module == "experts" else [module]
    (folder / "adapter_config.json").write_text(json.dumps(config | {"target_modules": modules}))
    with safe_open(adapter / "adapter_model.safetensors", framework="pt") as file:
        kept = {name: file.get_tensor(name) for name in file.keys() if f".{module}." in name}  # noqa: SIM118
    save_file(kept, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return folder


def _write(file: Path, kind: str, name: str, spec: dict[str, Any]) -> Path:
    manifest = {"apiVersion": "finetune.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    file.write_text(json.dumps(manifest))
    return file
