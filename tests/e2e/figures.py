"""Seconds that tests took for what users wait for; in build/e2e.json once they are done."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(kw_only=True)
class Figures:
    file: Path
    known: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Only what ended well counts."""
        begin = time.monotonic()
        yield
        self.tell(what, round(time.monotonic() - begin, 1))

    def tell(self, what: str, figure: Any) -> None:
        self.known[what] = figure
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text(json.dumps(self.known, indent=1) + "\n")
