"""The ConfigMap by which servers that run know their adapters, and the program in it that loads them."""

import json
from pathlib import Path

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.naming import child_name
from finetune_operator.core.objects import Manifest
from finetune_operator.core.pod import VOLUME_ROOT, env_var
from finetune_operator.serving.children.names import child_metadata
from finetune_operator.serving.command import ONE_API_SERVER
from finetune_operator.serving.model import ServedModel

_MOUNT_PATH = "/etc/finetune/adapters"
_MODULE = "served_adapters"
_PROGRAM = (Path(__file__).parents[1] / f"{_MODULE}.py").read_text(encoding="utf-8")
# What --max-lora-rank may be, from its default on.
_LORA_RANKS = (16, 32, 64, 128, 256, 320, 512)
# The only one that vLLM's experts with LoRA take (lora/layers/fused_moe.py, _ep_check). Without expert
# parallelism it says nothing.
_LORA_WITH_EXPERTS = ("--all2all-backend", "allgather_reducescatter")


def desired_adapters(deployment: ModelDeployment, model: ServedModel) -> Manifest | None:
    """Return the ConfigMap; None where servers take no adapters."""
    if model.lora_rank is None:
        return None
    wanted = [{"name": adapter.name, "path": adapter.path} for adapter in model.adapters]
    metadata = child_metadata(deployment)
    metadata["name"] = _name(deployment)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {"adapters.json": json.dumps(wanted, indent=1), f"{_MODULE}.py": _PROGRAM},
    }


def adapter_args(model: ServedModel) -> tuple[str, ...]:
    """Return vLLM's arguments: that there may be adapters and of which rank, and never which."""
    if model.lora_rank is None:
        return ()
    rank = next((most for most in _LORA_RANKS if most >= model.lora_rank), _LORA_RANKS[-1])
    return (
        *("--enable-lora", "--max-lora-rank", str(rank)),
        *("--middleware", f"{_MODULE}.ServedAdapters"),
        *_LORA_WITH_EXPERTS,
        # Each process numbers adapters itself, and the engine knows them by number.
        ONE_API_SERVER,
    )


def adapter_env(model: ServedModel) -> tuple[Manifest, ...]:
    """Return the variables by which vLLM finds the program, and the program the adapters."""
    if model.lora_rank is None:
        return ()
    return (env_var("PYTHONPATH", _MOUNT_PATH), env_var("ADAPTERS_ROOT", VOLUME_ROOT))


def adapter_volumes(deployment: ModelDeployment, model: ServedModel) -> tuple[Manifest, ...]:
    """Return the pod's volume."""
    if model.lora_rank is None:
        return ()
    return ({"name": "adapters", "configMap": {"name": _name(deployment)}},)


def adapter_mounts(model: ServedModel) -> tuple[Manifest, ...]:
    """Return the container's mount: of the whole folder, or the kubelet would not bring what changes."""
    if model.lora_rank is None:
        return ()
    return ({"name": "adapters", "mountPath": _MOUNT_PATH, "readOnly": True},)


def _name(deployment: ModelDeployment) -> str:
    return child_name(deployment.metadata.name, "adapters")
