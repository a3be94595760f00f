"""What a plain scalar means: as `kubectl annotate --local -o json` prints it (kubectl 1.37)."""

import pytest

from finetune_operator.api.manifest_yaml import documents


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("y", True),
        ("N", False),
        ("yes", True),
        ("Off", False),
        ("True", True),
        ("yy", "yy"),
        ("~", None),
        ("Null", None),
        ("017", 15),
        ("0o17", 15),
        ("0O17", 15),
        ("-017", -15),
        ("0_7", 7),
        ("08", 8.0),
        ("0x1F", 31),
        ("0X1f", 31),
        ("0b11", 3),
        ("1_000", 1000),
        ("+1", 1),
        ("1e3", 1000.0),
        ("1.", 1.0),
        ("+.5", 0.5),
        ("-.5e+2", -50.0),
        ("1_0.5", 10.5),
        ("1e", "1e"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("_1", "_1"),
        ("0x", "0x"),
        ("0b_", "0b_"),
    ],
)
def test_scalars(written: str, meant: object) -> None:
    ((_, document),) = documents(f"a: {written}\n")
    assert document == {"a": meant}
    assert type(document["a"]) is type(meant)
