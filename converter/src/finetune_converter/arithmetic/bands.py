"""A matrix in bands of rows, so that memory is bounded by a band and not by the tensor."""

from collections.abc import Iterator

BAND_ELEMENTS = 1024 * 1024
"""4 MiB in fp32: what a core's cache holds, and what malloc keeps instead of giving it back each time."""


def bands(rows: int, columns: int, multiple: int = 128) -> Iterator[tuple[int, int]]:
    """[start, stop) of each band: whole FP8 block rows, at least one of them."""
    per_band = max(1, BAND_ELEMENTS // max(1, columns * multiple)) * multiple
    for start in range(0, rows, per_band):
        yield start, min(rows, start + per_band)
