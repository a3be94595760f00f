"""How much memory this process has taken."""

import resource

import torch


def peak_memory() -> int:
    """Bytes: on the GPU since the last logged step, when torchtitan resets it; on a host, ever."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_reserved()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
