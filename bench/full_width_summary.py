"""What the measurements of full_width.py come to, and the losses as a drawing."""

from typing import Any

# Products with 2.1B active weights, forward and for the input's gradient (4 a weight), and causal attention
# at sequence 4096, forward and 2.6 times that backward, in 2 layers of 128 heads of 192 and 128.
FLOP_A_TOKEN = 9.6e9
WIDTH, HEIGHT, MARGIN = 720, 360, 40
COMPARED = ("trainer", "PEFT")
COLORS = {"trainer": "#0b6e4f", "PEFT": "#c2410c", "trainer, FP8 products": "#1d4ed8"}
FLOAT8 = "trainer, FP8 products, batch"


def summary(measured: dict[str, Any], matmul_teraflops: float) -> dict[str, Any]:
    """Ratios to PEFT's best, as the issue asks for them; what was left out or failed gives none."""
    done = {name: result for name, result in measured.items() if "failed" not in result}
    best, best_float8, peers_best = (_fastest(done, side) for side in ("trainer, batch", FLOAT8, "PEFT, "))
    ratios = {
        "speedOverPeftBest": (best, peers_best, "tokensPerSecond"),
        "speedOverPeftAtBatch2": ("trainer, batch 2", "PEFT, batch 2", "tokensPerSecond"),
        "float8SpeedOverPeftBest": (best_float8, peers_best, "tokensPerSecond"),
        "float8ProductsMemoryOverBfloat16": (f"{FLOAT8} 2", "trainer, batch 2", "peakGiB"),
        "memoryOverPeftAtBatch2": ("trainer, batch 2", "PEFT, batch 2", "peakGiB"),
        "float8MemoryOverBfloat16": ("trainer, float8, batch 2", "trainer, batch 2", "peakGiB"),
        "float8MemoryOverPeft": ("trainer, float8, batch 2", "PEFT, batch 2", "peakGiB"),
    }
    return {
        **_speed("best", done, best),
        **_speed("peftBest", done, peers_best),
        **_speed("float8Best", done, best_float8),
        **{
            name: round(done[one][figure] / done[other][figure], 3)
            for name, (one, other, figure) in ratios.items()
            if one in done and other in done
        },
        **_of_our_best(done, best, matmul_teraflops),
        **_of_losses(done),
    }


def _fastest(done: dict[str, Any], side: str) -> str:
    """The measurement of most tokens a second among those whose name begins so; none: an empty name."""
    names = [name for name in done if name.startswith(side)]
    return max(names, key=lambda name: float(done[name]["tokensPerSecond"]), default="")


def _speed(figure: str, done: dict[str, Any], name: str) -> dict[str, Any]:
    if not name:
        return {}
    return {figure: name, f"{figure}TokensPerSecond": done[name]["tokensPerSecond"]}


def _of_our_best(done: dict[str, Any], best: str, matmul_teraflops: float) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    if best:
        rate = done[best]["tokensPerSecond"] * FLOP_A_TOKEN / 1e12
        figures["shareOfMatmulRate"] = round(rate / matmul_teraflops, 3)
    if checkpoints := done.get("trainer, batch 2", {}).get("checkpoints"):
        figures["checkpointBytes"] = checkpoints["bytes"]
        figures["longestStallSeconds"] = checkpoints["longestStallSeconds"]
    return figures


def _of_losses(done: dict[str, Any]) -> dict[str, Any]:
    curves = _curves(done)
    figures: dict[str, Any] = {}
    if all(side in curves for side in COMPARED):
        losses = [curves[side] for side in COMPARED]
        difference = sum(abs(a - b) for a, b in zip(*losses, strict=True)) / len(losses[0])
        figures["lossMeanDifference"] = round(difference, 4)
    if curves:
        last = {side: round(sum(curve[-20:]) / 20, 4) for side, curve in curves.items()}
        figures["lossOfLast20Steps"] = last
    return figures


def _curves(measured: dict[str, Any]) -> dict[str, list[float]]:
    results = {side: measured.get(f"loss, {side}", {}) for side in COLORS}
    return {side: result["losses"] for side, result in results.items() if "losses" in result}


def loss_drawing(measured: dict[str, Any]) -> str:
    """An SVG of the losses over the steps; empty where none was measured."""
    curves = _curves(measured)
    if not curves:
        return ""
    steps, top = max(map(len, curves.values())), max(map(max, curves.values()))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12"><rect width="100%" height="100%" fill="white"/>'
    ]
    for loss in range(0, int(top) + 1, 2):
        height = _height(loss, top)
        lines.append(f'<path d="M{MARGIN} {height}H{WIDTH - MARGIN}" stroke="#ddd"/>')
        lines.append(f'<text x="{MARGIN - 22}" y="{height + 4}">{loss}</text>')
    for row, (side, losses) in enumerate(curves.items()):
        points = " ".join(
            f"{MARGIN + step * (WIDTH - 2 * MARGIN) / steps:.1f},{_height(loss, top)}"
            for step, loss in enumerate(losses)
        )
        lines.append(f'<polyline points="{points}" fill="none" stroke="{COLORS[side]}"/>')
        lines.append(f'<text x="{WIDTH - 160}" y="{MARGIN + 18 * row}" fill="{COLORS[side]}">{side}</text>')
    lines.append(f'<text x="{MARGIN}" y="{HEIGHT - 12}">loss over {steps} steps</text></svg>')
    return "\n".join(lines) + "\n"


def _height(loss: float, top: float) -> float:
    return round(HEIGHT - MARGIN - loss * (HEIGHT - 2 * MARGIN) / top, 1)
