"""What pods compile, in a volume that outlives them.

All of it is below HOME, in folders named by version and GPU, so that pods share them. Of servers torch's
graphs and Triton's kernels under ~/.cache/vllm, FlashInfer's under ~/.cache/flashinfer, DeepGEMM's, the
driver's; of training Triton's kernels under ~/.triton, the driver's, and torch's graphs.
"""

from finetune_operator.api.cache import CacheSpec
from finetune_operator.core.config import Config
from finetune_operator.core.objects import Manifest
from finetune_operator.core.pod import env_var

_MOUNT_PATH = "/cache"
# Folders of their own, as the claim may be the model's.
_SERVER_HOME = f"{_MOUNT_PATH}/.server-cache"
_TRAINER_HOME = f"{_MOUNT_PATH}/.trainer-cache"


def cache_claim(cache: CacheSpec | None, config: Config) -> str:
    """Return the claim of an object's pods: its own, else the operator's; empty where there is none."""
    return cache.claim_name if cache else config.cache_claim


def cache_volumes(claim: str) -> tuple[Manifest, ...]:
    """Return the pod's volume; none without a claim."""
    return ({"name": "cache", "persistentVolumeClaim": {"claimName": claim}},) if claim else ()


def cache_mounts(claim: str) -> tuple[Manifest, ...]:
    """Return the container's mount."""
    return ({"name": "cache", "mountPath": _MOUNT_PATH},) if claim else ()


def server_cache_env(claim: str) -> tuple[Manifest, ...]:
    """Return a server's variables; CuTe's kernels alone go to /tmp whatever HOME is."""
    if not claim:
        return ()
    return (env_var("HOME", _SERVER_HOME), env_var("CUTE_DSL_CACHE_DIR", f"{_SERVER_HOME}/.cache/cute_dsl"))


def trainer_cache_env(claim: str) -> tuple[Manifest, ...]:
    """Return training's variables; torch's graphs and CuTe's kernels go to /tmp whatever HOME is."""
    if not claim:
        return ()
    return (
        env_var("HOME", _TRAINER_HOME),
        env_var("TORCHINDUCTOR_CACHE_DIR", f"{_TRAINER_HOME}/.cache/torchinductor"),
        env_var("CUTE_DSL_CACHE_DIR", f"{_TRAINER_HOME}/.cache/cute_dsl"),
    )
