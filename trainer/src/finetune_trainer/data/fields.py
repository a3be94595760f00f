"""The keys of an object of a row, taken one by one: what nobody takes is an error by name."""

from collections.abc import Mapping
from typing import Any

from finetune_trainer.data.row import Line

_UNUSED = "Delete them, or list them in dataset.ignoreColumns, and apply the FineTuneJob again"


class Fields:
    """A key that is null counts as one that is not there, as parquet writes it."""

    def __init__(self, line: Line, values: Mapping[str, Any], where: str, ignored: tuple[str, ...]) -> None:
        self.line, self.where, self.ignored = line, where, ignored
        self._left = {k: v for k, v in values.items() if v is not None and k not in ignored}

    def take(self, key: str) -> Any:
        return self._left.pop(key, None)

    def take_text(self, key: str) -> str | None:
        """Raises DataError if it is there and no text."""
        value = self.take(key)
        if value is not None and not isinstance(value, str):
            raise self.line.error(f'"{key}" of {self.where} is {described(value)}, not text')
        return value

    def finish(self) -> None:
        """Raises DataError if a key is left."""
        if self._left:
            names = ", ".join(f'"{key}"' for key in self._left)
            raise self.line.error(f"{self.where} has {names}, which nothing uses", _UNUSED)


def described(value: Any) -> str:
    """What a value of JSON is, for people."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"a number ({value})"
    kinds: dict[type, str] = {list: "a list", dict: "an object", str: "text", bytes: "binary"}
    return kinds.get(type(value), "null")
