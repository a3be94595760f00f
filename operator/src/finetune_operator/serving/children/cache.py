"""What vLLM compiles, in a volume that outlives the pod.

torch's graphs and Triton's kernels under ~/.cache/vllm, FlashInfer's under ~/.cache/flashinfer, DeepGEMM's,
the driver's: all below HOME, each in folders named by version and GPU, so that servers share them.
"""

from finetune_operator.api.deployment import CacheSpec
from finetune_operator.core.objects import Manifest
from finetune_operator.core.pod import env_var

_MOUNT_PATH = "/cache"
# A folder of its own, as the claim may be the model's.
_HOME = f"{_MOUNT_PATH}/.server-cache"


def cache_volumes(cache: CacheSpec | None) -> tuple[Manifest, ...]:
    """Return the pod's volume; none without a cache."""
    if cache is None:
        return ()
    return ({"name": "cache", "persistentVolumeClaim": {"claimName": cache.claim_name}},)


def cache_mounts(cache: CacheSpec | None) -> tuple[Manifest, ...]:
    """Return the container's mount."""
    return () if cache is None else ({"name": "cache", "mountPath": _MOUNT_PATH},)


def cache_env(cache: CacheSpec | None) -> tuple[Manifest, ...]:
    """Return the variables; CuTe's kernels alone go to /tmp whatever HOME is."""
    if cache is None:
        return ()
    return (env_var("HOME", _HOME), env_var("CUTE_DSL_CACHE_DIR", f"{_HOME}/.cache/cute_dsl"))
