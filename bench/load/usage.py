"""CPU seconds and memory of processes, as /proc counts them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Usage:
    cpu_seconds: float
    rss_bytes: int
    peak_rss_bytes: int


def usage_of(pid: int) -> Usage:
    # The name in parentheses may hold spaces.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = int(fields[11]), int(fields[12])
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    memory = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith("Vm")}
    return Usage(
        cpu_seconds=(user + system) / _TICKS, rss_bytes=memory["VmRSS"], peak_rss_bytes=memory["VmHWM"]
    )


def usages(pids: Mapping[str, int]) -> dict[str, Usage]:
    return {name: usage_of(pid) for name, pid in pids.items()}


def used(before: Mapping[str, Usage], after: Mapping[str, Usage]) -> dict[str, Any]:
    """What each process used between two looks."""
    return {
        name: {
            "cpuSeconds": round(now.cpu_seconds - before[name].cpu_seconds, 2),
            "rssMB": round(now.rss_bytes / 1e6, 1),
            "peakRssMB": round(now.peak_rss_bytes / 1e6, 1),
        }
        for name, now in after.items()
    }
