"""What a pod requests of its node beside devices: CPUs, host memory, and storage for /tmp and logs.

Requests, and no limits: what a stage takes beyond what it asked for costs nobody anything while it is there,
and a limit that is too low kills it. A namespace that wants limits sets them by a LimitRange.
"""

import math
from dataclasses import dataclass

from finetune_operator.core.capacity.conversion import CONVERSION_BYTES
from finetune_operator.core.objects import Manifest

_GIB = 2**30
# Of a GPU's process: the interpreter and torch, the CUDA context's host side, NCCL's buffers, and
# the part of a file that is read. The smallest machines with a GPU have 4 CPUs and 16 GiB for it.
_GPU_PROCESS_BYTES = 6 * _GIB
_CPUS_PER_GPU = 2
_INTERPRETER_BYTES = _GIB
# vLLM's API server with its tokenizer, beside one process per GPU.
_SERVER_BYTES = 4 * _GIB
_SCRATCH_BYTES = 2 * _GIB
# Kernels that FlashInfer, DeepGEMM and torch compile at the first start go to /tmp.
_KERNEL_CACHE_BYTES = 10 * _GIB


@dataclass(frozen=True, kw_only=True)
class HostNeeds:
    """What one container requests, in CPUs and bytes."""

    cpus: int
    memory: int
    scratch: int = _SCRATCH_BYTES

    @property
    def requests(self) -> Manifest:
        """As in a container's resources."""
        return {
            "cpu": str(self.cpus),
            "memory": f"{math.ceil(self.memory / 2**20)}Mi",
            "ephemeral-storage": f"{math.ceil(self.scratch / 2**20)}Mi",
        }


CONVERSION = HostNeeds(cpus=1, memory=CONVERSION_BYTES)
"""Of a process of merge, verify or push, at any size of model."""

PREPARATION = HostNeeds(cpus=1, memory=2 * _GIB)
"""Of prepare: the tokenizer, and files that pass through."""


def training_needs(processes: int, *, gpus: int, process_bytes: int) -> HostNeeds:
    """Return what a training pod requests. process_bytes: of each process, where no GPU holds them."""
    if gpus:
        return HostNeeds(cpus=_CPUS_PER_GPU * processes, memory=processes * _GPU_PROCESS_BYTES)
    return HostNeeds(cpus=processes, memory=processes * (process_bytes + _INTERPRETER_BYTES))


def serving_needs(gpus: int, *, processes: int, model_bytes: int | None) -> HostNeeds:
    """Return what a server requests. model_bytes: None where nobody knows how large the model is."""
    if gpus:
        memory = _SERVER_BYTES + gpus * _GPU_PROCESS_BYTES
        return HostNeeds(cpus=_CPUS_PER_GPU * gpus, memory=memory, scratch=_KERNEL_CACHE_BYTES)
    return HostNeeds(cpus=processes, memory=_SERVER_BYTES + (model_bytes or 0), scratch=_KERNEL_CACHE_BYTES)
