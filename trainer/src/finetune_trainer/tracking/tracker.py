"""What every tracker does."""

from collections.abc import Mapping
from typing import Protocol


class Tracker(Protocol):
    """Told by one thread alone, which may be kept waiting; it may raise anything."""

    place: str
    """Where the run is to be seen: a URL, or a folder of the volume."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Tell values of a step, each under a name such as train/loss."""

    def close(self) -> None:
        """Send what is still here."""
