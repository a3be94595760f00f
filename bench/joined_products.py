"""What products would gain by being one: LoRA's with the frozen weight's, and gate's with up's.

`python bench/joined_products.py` on a GPU of 80 GB: milliseconds of 8,192 tokens at DeepSeek-V3's widths,
median of 15. "joined" multiplies [x, A x] by [W | s B], whose last columns are written anew each time, as B
is trained.
"""

import sys
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F

from report import write_report

TOKENS, RANK, SCALING = 8192, 16, 2.0
EXPERTS, INNER, WIDTH, ROWS = 256, 2048, 7168, 65536
MLA = {
    "wq_a": (7168, 1536),
    "wq_b": (1536, 24576),
    "wkv_a": (7168, 576),
    "wkv_b": (512, 32768),
    "wo": (16384, 7168),
}


class Joined(torch.autograd.Function):
    """x (tokens, in), joined (out, in + rank), A (rank, in), B (out, rank)."""

    @staticmethod
    def forward(
        context: Any, x: torch.Tensor, joined: torch.Tensor, a: torch.Tensor, b: torch.Tensor
    ) -> torch.Tensor:
        a = a.to(x.dtype)
        joined[:, x.shape[1] :] = (b * SCALING).to(x.dtype)
        longer = torch.cat([x, F.linear(x, a)], 1)
        context.save_for_backward(longer, joined, a)
        return F.linear(longer, joined)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        longer, joined, a = context.saved_tensors
        width = a.shape[1]
        of_longer = gradient @ joined
        of_low = of_longer[:, width:].contiguous()
        of_x = torch.addmm(of_longer[:, :width], of_low, a)
        of_b = (gradient.T @ longer[:, width:]).float() * SCALING
        return of_x, None, (of_low.T @ longer[:, :width]).float(), of_b


def main() -> int:
    if not torch.cuda.is_available():
        print("SKIPPED: bench/joined_products.py needs a GPU, and there is none", file=sys.stderr)
        return 0
    layers = {name: _linear(*sizes) for name, sizes in MLA.items()}
    sums = {form: round(sum(row[form] for row in layers.values()), 2) for form in layers["wo"]}
    figures = {"card": torch.cuda.get_device_name(), "mla": layers, "sums": sums, "experts": _experts()}
    write_report("joined-products", figures, packages=("torch",))
    return 0


def _linear(inputs: int, outputs: int) -> dict[str, float]:
    """Forward, and forward with backward, of a layer alone, with its adapter as it is, and joined."""
    x = _random(TOKENS, inputs).requires_grad_()
    weight, gradient = _random(outputs, inputs) * inputs**-0.5, _random(TOKENS, outputs)
    a = (torch.randn(RANK, inputs, device="cuda") * inputs**-0.5).requires_grad_()
    b = (torch.randn(outputs, RANK, device="cuda") * 0.01).requires_grad_()
    joined = torch.cat([weight, torch.zeros_like(weight[:, :RANK])], 1)
    compiled = torch.compile(_with_adapter, fullgraph=True)
    forms: dict[str, tuple[Callable[[], torch.Tensor], list[torch.Tensor]]] = {
        "base": (lambda: F.linear(x, weight), [x]),
        "adapter": (lambda: compiled(x, weight, a, b), [x, a, b]),
        "joined": (lambda: Joined.apply(x, joined, a, b), [x, a, b]),
    }
    row = {}
    for name, (forward, wanted) in forms.items():
        with torch.no_grad():
            row[f"{name}Forward"] = _milliseconds(forward)
        row[name] = _milliseconds(lambda: torch.autograd.grad(forward(), wanted, gradient))  # noqa: B023
    return row


def _with_adapter(x: torch.Tensor, weight: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return F.linear(x, weight) + F.linear(F.linear(x, a.to(x.dtype)) * SCALING, b.to(x.dtype))


def _experts() -> dict[str, dict[str, float]]:
    """Two grouped products, and one of twice the width, with slightly uneven experts."""
    grouped = torch._grouped_mm
    x = _random(ROWS, WIDTH)
    counts = torch.full((EXPERTS,), ROWS // EXPERTS)
    counts[::2] += 64
    counts[1::2] -= 64
    ends = counts.cumsum(0).to(torch.int32).cuda()
    both = _random(EXPERTS, 2 * INNER, WIDTH) * WIDTH**-0.5
    gate, up = both[:, :INNER].contiguous(), both[:, INNER:].contiguous()
    of_gate, of_up = _random(ROWS, INNER), _random(ROWS, INNER)
    of_both = torch.cat([of_gate, of_up], 1)
    swiglu = torch.compile(lambda gate, up: F.silu(gate) * up)
    halves = torch.compile(lambda both: F.silu(both[:, :INNER]) * both[:, INNER:])

    def product(weight: torch.Tensor) -> torch.Tensor:
        return grouped(x, weight.transpose(1, 2), offs=ends)

    return {
        "forward, with SwiGLU": {
            "two": _milliseconds(lambda: swiglu(product(gate), product(up))),
            "one": _milliseconds(lambda: halves(product(both))),
        },
        "input's gradient": {
            "two": _milliseconds(lambda: grouped(of_gate, gate, offs=ends) + grouped(of_up, up, offs=ends)),
            "one": _milliseconds(lambda: grouped(of_both, both, offs=ends)),
        },
    }


def _random(*sizes: int) -> torch.Tensor:
    return torch.randn(*sizes, device="cuda", dtype=torch.bfloat16)


def _milliseconds(run: Callable[[], object]) -> float:
    for _ in range(4):
        run()
    taken = []
    for _ in range(15):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        taken.append(start.elapsed_time(end))
    return round(median(taken), 3)


if __name__ == "__main__":
    sys.exit(main())
