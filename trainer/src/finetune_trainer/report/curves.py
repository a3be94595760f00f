"""What metrics.jsonl says of a run."""

import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Point = tuple[float, float]
"""A step, and a value."""


@dataclass(frozen=True)
class Metrics:
    """The lines of a metrics.jsonl."""

    lines: Sequence[dict[str, Any]]

    @classmethod
    def read(cls, file: Path) -> "Metrics":
        """Those of `file`; none if it is not there. A line that a crash cut off is left out."""
        return cls(tuple(_objects(file)) if file.is_file() else ())

    def curve(self, key: str) -> tuple[Point, ...]:
        """The finite values of `key` by step."""
        return tuple(
            (float(line["step"]), float(line[key])) for line in self.lines if line.get(key) is not None
        )

    def curves(self, key: str) -> Iterator[tuple[str, tuple[Point, ...]]]:
        """The curves of `key`, which holds a value by name, each with its name."""
        objects = [(line["step"], line[key]) for line in self.lines if isinstance(line.get(key), dict)]
        for name in dict.fromkeys(name for _, values in objects for name in values):
            told = ((step, values.get(name)) for step, values in objects)
            yield name, tuple((float(step), float(value)) for step, value in told if value is not None)

    def samples(self) -> dict[int, list[dict[str, str]]]:
        """The answers by step, in the order of the prompts."""
        return {line["step"]: line["samples"] for line in self.lines if isinstance(line.get("samples"), list)}

    def values(self, key: str) -> list[float]:
        return [value for _, value in self.curve(key)]

    def last(self, key: str) -> float | None:
        return next(iter(reversed(self.values(key))), None)

    def median(self, key: str) -> float | None:
        values = self.values(key)
        return statistics.median(values) if values else None

    def greatest(self, key: str) -> float | None:
        return max(self.values(key), default=None)

    def least(self, key: str) -> Point | None:
        return min(self.curve(key), key=lambda point: point[1], default=None)


def _objects(file: Path) -> Iterator[dict[str, Any]]:
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if isinstance(content, dict) and "step" in content:
            yield content
