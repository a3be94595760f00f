"""A benchmark's result: dated JSON in bench/results, with what it ran on and how to run it again."""

import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")


def write_report(name: str, figures: dict[str, Any], *, packages: tuple[str, ...]) -> Path:
    """Write `figures` to results/<date>-<name>.json and print them; the file's path."""
    now = datetime.now(UTC)
    report = {
        "benchmark": name,
        "date": now.isoformat(timespec="seconds"),
        "command": " ".join(["python", *_relative(sys.argv)]),
        "machine": machine(),
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in packages},
        "figures": figures,
    }
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{now:%Y-%m-%d}-{name}.json"
    file.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
    return file


def machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "memoryGiB": round(memory / 2**30, 1),
        "loadAverage": round(os.getloadavg()[0], 1),
    }


def _relative(arguments: list[str]) -> list[str]:
    root = Path(__file__).parents[1]
    script = Path(arguments[0]).resolve()
    return [str(script.relative_to(root)), *arguments[1:]]
