"""The kernels of products in FP8 that neither cuBLAS nor torch has for Hopper, in Triton."""

import torch
import triton
import triton.language as tl

from finetune_trainer.base.float8 import BLOCK, LARGEST, LEAST

# The fastest of 38 shapes on an H100, for a layer's 256 experts at 671B's widths with 256 rows each.
ROWS, COLUMNS, WARPS, STAGES = 64, 128, 4, 3


def quantize_rows(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """FP8 values of `x` (rows, columns), and (columns / 128, rows) scales."""
    rows, columns = x.shape
    values = torch.empty(rows, columns, dtype=torch.float8_e4m3fn, device=x.device)
    scales = torch.empty(columns // BLOCK, rows, dtype=torch.float32, device=x.device)
    grid = (triton.cdiv(rows, ROWS), columns // BLOCK)
    _quantize[grid](x.contiguous(), values, scales, rows, columns, LARGEST, LEAST, BLOCK, ROWS)
    return values, scales


def transposed(weight: torch.Tensor) -> torch.Tensor:
    """`weight` (.., rows, columns), of one byte a value, as (.., columns, rows) in one piece."""
    *leading, rows, columns = weight.shape
    stacked = weight.reshape(-1, rows, columns) if leading else weight[None]
    result = torch.empty(len(stacked), columns, rows, dtype=weight.dtype, device=weight.device)
    grid = (rows // BLOCK, columns // BLOCK, len(stacked))
    _transpose[grid](stacked.view(torch.uint8), result.view(torch.uint8), *stacked.stride(), rows, BLOCK)
    return result.view(*leading, columns, rows)


def grouped_product(
    values: torch.Tensor,
    row_scales: torch.Tensor,
    weight: torch.Tensor,
    scales: torch.Tensor,
    ends: torch.Tensor,
    result: torch.Tensor,
) -> None:
    """Write each expert's rows of `values` (rows, in) by its `weight` (out, in) to `result` (rows, out)."""
    rows, size = values.shape
    experts, columns, _ = weight.shape
    tiles = rows // ROWS + experts  # as many as any distribution of the rows takes
    _multiply[(tiles * (columns // COLUMNS),)](
        values,
        row_scales,
        weight,
        scales,
        ends,
        result,
        rows,
        size,
        columns,
        experts,
        result.stride(0),
        *scales.stride(),
        BLOCK,
        ROWS,
        COLUMNS,
        triton.next_power_of_2(experts),
        num_warps=WARPS,
        num_stages=STAGES,
    )


@triton.jit
def _quantize(x, values, scales, rows, columns, largest, least, BLOCK: tl.constexpr, ROWS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    block = tl.program_id(1)
    inside = row < rows
    at = row.to(tl.int64)[:, None] * columns + block * BLOCK + tl.arange(0, BLOCK)[None, :]
    value = tl.load(x + at, mask=inside[:, None], other=0.0).to(tl.float32)
    scale = tl.maximum(tl.max(tl.abs(value), 1), least) / largest
    tl.store(values + at, (value / scale[:, None]).to(tl.float8e4nv), mask=inside[:, None])
    tl.store(scales + block.to(tl.int64) * rows + row, scale, mask=inside)


@triton.jit
def _transpose(weight, result, stride_stack, stride_row, stride_column, rows, BLOCK: tl.constexpr):
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    stack = tl.program_id(2).to(tl.int64)
    columns = tl.num_programs(1) * BLOCK
    from_ = weight + stack * stride_stack + row[:, None] * stride_row + column[None, :] * stride_column
    to = result + stack * rows * columns + column[:, None] * rows + row[None, :]
    tl.store(to, tl.trans(tl.load(from_)))


# Which expert's rows a tile has follows from where all experts' rows end: nothing has to come to the host.
@triton.jit
def _multiply(
    values,
    row_scales,
    weight,
    scales,
    ends,
    result,
    rows,
    size,
    columns,
    experts,
    stride_result,
    stride_expert,
    stride_column,
    stride_size,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    EXPERTS: tl.constexpr,
):
    """One tile of ROWS rows of one expert by COLUMNS columns; tiles of the same rows follow each other."""
    tile = tl.program_id(0) // (columns // COLUMNS)
    column = (tl.program_id(0) % (columns // COLUMNS)) * COLUMNS
    each = tl.arange(0, EXPERTS)
    end = tl.load(ends + each, mask=each < experts, other=0)
    start = tl.load(ends + each - 1, mask=(each > 0) & (each < experts), other=0)
    tiles = (end - start + ROWS - 1) // ROWS
    tiles_up_to = tl.cumsum(tiles, 0)
    expert = tl.sum((tiles_up_to <= tile).to(tl.int32), 0)
    if expert < experts:
        ours = each == expert
        first = tl.sum(tl.where(ours, start + (tile - tiles_up_to + tiles) * ROWS, 0), 0)
        last = tl.sum(tl.where(ours, end, 0), 0)
        row = first + tl.arange(0, ROWS)
        inside = row < last
        k = tl.arange(0, BLOCK)
        n = column + tl.arange(0, COLUMNS)
        expert64 = expert.to(tl.int64)
        values_at = values + row.to(tl.int64)[:, None] * size + k[None, :]
        weight_at = weight + expert64 * columns * size + n[None, :] * size + k[:, None]
        scales_at = scales + expert64 * stride_expert + (column // BLOCK) * stride_column
        sums = tl.zeros((ROWS, COLUMNS), tl.float32)
        for block in range(size // BLOCK):
            scale = tl.load(row_scales + block * rows + row, mask=inside, other=0.0)
            scale *= tl.load(scales_at + block * stride_size)
            a = tl.load(values_at + block * BLOCK, mask=inside[:, None], other=0.0)
            b = tl.load(weight_at + block * BLOCK)
            sums += tl.dot(a, b) * scale[:, None]
        to = result + row.to(tl.int64)[:, None] * stride_result + n[None, :]
        tl.store(to, sums.to(result.dtype.element_ty), mask=inside[:, None])
