"""The first 40 of the random adapters that bench/fuzz_adapters.py merges a thousand of."""

from fuzz_adapters import fuzz


def test_merged_as_peft_merges_or_refused() -> None:
    outcomes = fuzz(40)["outcomes"]
    assert outcomes.keys() == {"as PEFT", "refused"}
