"""JSON as lines of a table: dotted paths, and what they hold as people write it."""

from collections.abc import Iterator
from typing import Any

from finetune_trainer.report.chart import number


def flat(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted paths and what they hold."""
    for name, value in content.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", text(value)


def text(value: Any) -> str:
    """A value of JSON, for people."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | dict):
        return ", ".join(map(text, value)) or "none"
    if isinstance(value, int):
        return f"{value:,}"
    return number(value) if isinstance(value, float) else str(value)
