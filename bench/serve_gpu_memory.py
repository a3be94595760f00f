"""What is in use of the GPUs, by nvidia-smi."""

import subprocess


def gpu_memory(which: str = "used") -> int:
    """MiB in use of the first card, or in all, by nvidia-smi."""
    return next(iter(gpu_memories(which)), 0)


def gpu_memories(which: str = "used") -> list[int]:
    """The same of each card."""
    return [int(line) for line in _nvidia_smi(f"--query-gpu=memory.{which}") if line.isdigit()]


def processes_memory() -> list[str]:
    """Of each process on each card: card, process and MiB."""
    return _nvidia_smi("--query-compute-apps=gpu_bus_id,pid,used_memory")


def _nvidia_smi(query: str) -> list[str]:
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.splitlines()
    except (OSError, subprocess.TimeoutExpired):
        return []
