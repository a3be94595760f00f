"""The dtypes a safetensors header may name."""

BITS = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}

COMPUTED = frozenset({"F8_E4M3", "F8_E5M2", "F8_E8M0", "F16", "BF16", "F32", "F64"})
"""Dtypes we compute with. Every other dtype is carried over as bytes."""

FLOAT8 = "F8_E4M3"


def bytes_of(dtype: str, shape: tuple[int, ...]) -> int | None:
    """Bytes a tensor takes; None when a sub-byte dtype does not end on a byte."""
    bits = BITS[dtype]
    for size in shape:
        bits *= size
    return bits // 8 if bits % 8 == 0 else None
