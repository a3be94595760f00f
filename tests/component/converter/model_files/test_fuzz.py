"""The first 20,000 inputs of the fuzz that bench/fuzz_readers.py runs with a million."""

from fuzz_readers import fuzz


def test_no_reader_crashes() -> None:
    figures = fuzz(20_000, seed=2)
    assert figures["crashes"] == []
    readers = ("header", "json", "model", "adapter", "dcp", "base", "signature")
    assert all(f"{reader}: read" in figures["outcomes"] for reader in readers)
