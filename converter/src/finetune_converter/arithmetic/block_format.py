"""How FP8 weights are divided into blocks: what a plan needs to know of them, without torch."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BlockFormat:
    """Rows and columns of a block; whether scales are powers of two (`scale_fmt: ue8m0`, DeepSeek-V3.1)."""

    rows: int = 128
    columns: int = 128
    power_of_two: bool = False

    def scale_shape(self, shape: tuple[int, ...]) -> tuple[int, int]:
        return -(-shape[0] // self.rows), -(-shape[1] // self.columns)
