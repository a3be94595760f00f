"""torch's dtypes and bytes of what is computed with: apart, as torch takes seconds to import."""

import torch

TORCH = {
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E8M0": torch.float8_e8m0fnu,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}


def as_bytes(values: torch.Tensor) -> memoryview:
    """The tensor's memory, little endian as safetensors has it."""
    return memoryview(values.contiguous().view(torch.uint8).reshape(-1).numpy())  # type: ignore[arg-type]


def cast(values: torch.Tensor, dtype: str) -> torch.Tensor:
    """Values in a safetensors dtype."""
    return values.to(TORCH[dtype])
