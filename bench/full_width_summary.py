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
    """Ratios to PEFT's best, as the issue asks for them."""
    done = {name: result for name, result in measured.items() if "failed" not in result}
    ours = {name: result for name, result in done.items() if name.startswith("trainer, batch")}
    peft = {name: result for name, result in done.items() if name.startswith("PEFT")}
    float8 = {name: result for name, result in done.items() if name.startswith(FLOAT8)}
    best, best_float8, peers_best = (
        max(side, key=lambda name: side[name]["tokensPerSecond"]) for side in (ours, float8, peft)
    )
    at_two, peft_at_two = done["trainer, batch 2"], done["PEFT, batch 2"]
    curves = {side: done[f"loss, {side}"]["losses"] for side in COLORS}
    losses = [curves[side] for side in COMPARED]
    return {
        "best": best,
        "bestTokensPerSecond": ours[best]["tokensPerSecond"],
        "peftBest": peers_best,
        "peftBestTokensPerSecond": peft[peers_best]["tokensPerSecond"],
        "speedOverPeftBest": _ratio(ours[best], peft[peers_best], "tokensPerSecond"),
        "speedOverPeftAtBatch2": _ratio(at_two, peft_at_two, "tokensPerSecond"),
        "float8Best": best_float8,
        "float8BestTokensPerSecond": float8[best_float8]["tokensPerSecond"],
        "float8SpeedOverPeftBest": _ratio(float8[best_float8], peft[peers_best], "tokensPerSecond"),
        "float8ProductsMemoryOverBfloat16": _ratio(done[f"{FLOAT8} 2"], at_two, "peakGiB"),
        "shareOfMatmulRate": round(ours[best]["tokensPerSecond"] * FLOP_A_TOKEN / 1e12 / matmul_teraflops, 3),
        "memoryOverPeftAtBatch2": _ratio(at_two, peft_at_two, "peakGiB"),
        "float8MemoryOverBfloat16": _ratio(done["trainer, float8, batch 2"], at_two, "peakGiB"),
        "float8MemoryOverPeft": _ratio(done["trainer, float8, batch 2"], peft_at_two, "peakGiB"),
        "checkpointBytes": at_two["checkpoints"]["bytes"],
        "longestStallSeconds": at_two["checkpoints"]["longestStallSeconds"],
        "lossMeanDifference": round(
            sum(abs(a - b) for a, b in zip(*losses, strict=True)) / len(losses[0]), 4
        ),
        "lossOfLast20Steps": {side: round(sum(curve[-20:]) / 20, 4) for side, curve in curves.items()},
    }


def loss_drawing(measured: dict[str, Any]) -> str:
    """An SVG of the losses over the steps."""
    curves = {side: measured[f"loss, {side}"]["losses"] for side in COLORS}
    steps, top = len(curves["trainer"]), max(map(max, curves.values()))
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


def _ratio(one: dict[str, Any], other: dict[str, Any], figure: str) -> float:
    return round(one[figure] / other[figure], 3)
