"""kopf compares each object with what it was before, for handlers of changes, which we have none of."""

from typing import Any

from kopf import BodyEssence, DiffBaseStorage


class NoDiffs(DiffBaseStorage):
    """Nothing is copied to be compared: deep copies at each event took more CPU time than our reconciles."""

    def build(self, **_: Any) -> BodyEssence:
        """Return nothing to compare."""
        return BodyEssence()

    def fetch(self, **_: Any) -> None:
        """Return nothing to compare with."""

    def store(self, **_: Any) -> None:
        """Never called: only handlers of changes store what they saw."""
