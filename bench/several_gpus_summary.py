"""What the cases of `several_gpus.py` say together: scaling, the plan's error, losses, 671B by arithmetic."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from finetune_operator.core.capacity.architecture import FLAVORS
from finetune_operator.core.capacity.training import OVERHEAD_BYTES, Layout, Training, training_memory
from finetune_operator.core.capacity.weights import model_bytes

MICRO_BATCH = 2
DEGREES = ("replicate", "tensor", "expert", "pipeline", "context")
ALIKE = (
    "frozen",
    "arithmetic",
    "frozen_weights",
    "recompute",
    "expert",
    "tensor",
    "pipeline",
    "length",
    "batch",
)
BATCHES = ("length", "batch", "accumulate", "layers", "experts_per_token")
UNEVEN = "unevenly loaded experts"
LARGE = FLAVORS["671B_lora"]
# How much of a GPU the deep model may be planned to take: the plan's own error there is not known yet.
PLANNED_SHARE = 0.88


def plan(settings: Mapping[str, Any], processes: int) -> dict[str, int]:
    """What `finetune plan` counts for a case, without what it adds for CUDA."""
    model = FLAVORS[settings["flavor"]]
    if layers := settings.get("layers", 0):
        model = replace(model, num_hidden_layers=layers)
    if chosen := settings.get("experts_per_token", 0):
        model = replace(model, num_experts_per_tok=chosen)
    degrees = {name: settings.get(name, 1) for name in DEGREES}
    resident = settings.get("frozen_weights") == "resident"
    layout = Layout(processes=processes, resident=resident, **degrees)
    return training_memory(
        Training(
            model=model,
            layout=layout,
            frozen="float8" if settings.get("frozen") == "float8" else settings["precision"],
            compute=settings["precision"],
            targets=["attention"],
            rank=16,
            sequence_length=settings["length"],
            micro_batch_size=settings.get("batch", MICRO_BATCH),
            micro_batches=max(1, settings["accumulate"] // layout.replicas),
            float8_products=settings.get("arithmetic") == "float8",
            recompute=settings.get("recompute", "none"),
        )
    )


def layers_that_fit(settings: Mapping[str, Any], processes: int, gpu_bytes: float, host_bytes: float) -> int:
    """The most layers whose plan leaves some room on a GPU, and whose base in FP8 fits the host."""
    model = FLAVORS[settings["flavor"]]

    def needed(layers: int) -> int:
        return sum(plan({**settings, "layers": layers}, processes).values()) + OVERHEAD_BYTES

    def base(layers: int) -> int:
        return model_bytes(replace(model, num_hidden_layers=layers), "float8")

    fitting = (layers for layers in range(2, 62) if needed(layers) < PLANNED_SHARE * gpu_bytes)
    return max(layers for layers in fitting if base(layers) < host_bytes)


def summary(measured: Mapping[str, Any], one_gpu: str) -> dict[str, Any]:
    done = {name: result for name, result in measured.items() if "steps" in result}
    alone = [result for name, result in done.items() if name.startswith(one_gpu)]
    rows = {name: _row(result, _like(result, alone)) for name, result in done.items()}
    return {"cases": rows, "large": _large(done)}


def _row(result: Mapping[str, Any], alone: Mapping[str, Any] | None) -> dict[str, Any]:
    processes, steps = len(result["ranks"]), result["steps"]
    row: dict[str, Any] = {
        "tokensPerSecond": steps["tokensPerSecond"],
        "tokensPerSecondAGpu": round(steps["tokensPerSecond"] / processes),
        "loadSeconds": max(rank["loadSeconds"] for rank in result["ranks"]),
    }
    if "peakGiB" in result["ranks"][0]:
        row["peakGiB"] = max(rank["peakGiB"] for rank in result["ranks"])
    if "peakGiB" in row and not result.get("moved"):  # what is planned is the trainer as it is
        row |= _planned(result, row["peakGiB"])
    if alone is not None:
        single = alone["steps"]
        if not result.get("one_card"):
            row["shareOfOneGpu"] = round(steps["tokensPerSecond"] / processes / single["tokensPerSecond"], 3)
        row["greatestDifference"] = {
            name: _greatest_difference(steps[name], single[name]) for name in ("losses", "gradNorms")
        }
    return row


def _planned(result: Mapping[str, Any], peak: float) -> dict[str, Any]:
    """The plan and its error, which is that of what is known: without what is left for uneven experts."""
    parts = plan(result, len(result["ranks"]))
    expected = (sum(parts.values()) - parts.get(UNEVEN, 0)) / 2**30
    return {
        "plannedGiB": round(sum(parts.values()) / 2**30, 2),
        "plannedEvenGiB": round(expected, 2),
        "planErrorPercent": round(100 * (expected / peak - 1), 1),
        "planned": {name: round(size / 2**30, 2) for name, size in parts.items() if size},
    }


def _like(result: Mapping[str, Any], alone: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The case of one GPU with the same model and batches."""
    return next((one for one in alone if all(one.get(name) == result.get(name) for name in BATCHES)), None)


def _greatest_difference(ours: list[float], theirs: list[float]) -> float:
    return round(max(abs(a - b) for a, b in zip(ours, theirs, strict=True)), 5)


def _large(done: Mapping[str, Any]) -> dict[str, Any]:
    """671B by each deep case that has one of two layers beside it."""
    return {
        name: _extrapolated(deep, flat)
        for name, deep in done.items()
        for flat in done.values()
        if deep["layers"] and not flat["layers"] and _alike(deep, flat)
    }


def _extrapolated(deep: Mapping[str, Any], flat: Mapping[str, Any]) -> dict[str, Any]:
    """671B from the time of a layer: the deep model's steps less the two layers', over the layers between.

    Least and most: the slowest and the fastest steps set against each other. What a network adds, to experts'
    tokens or to what FSDP gathers, is not in it.
    """
    more, missing = deep["layers"] - 2, LARGE.num_hidden_layers - deep["layers"]
    slope = {
        "median": (deep["steps"]["medianSeconds"] - flat["steps"]["medianSeconds"]) / more,
        "least": (deep["steps"]["leastSeconds"] - flat["steps"]["mostSeconds"]) / more,
        "most": (deep["steps"]["mostSeconds"] - flat["steps"]["leastSeconds"]) / more,
    }
    whole = {name: deep["steps"]["medianSeconds"] + missing * seconds for name, seconds in slope.items()}
    tokens = MICRO_BATCH * deep["length"]
    read, slowest = _bytes_read(deep), max(rank["loadSeconds"] for rank in deep["ranks"])
    rate, ranks = read / max(slowest, 0.1), len(deep["ranks"])
    return {
        "frozen": deep["frozen"],
        "layers": deep["layers"],
        "layerSeconds": {name: round(seconds, 4) for name, seconds in slope.items()},
        "stepSeconds61Layers": {name: round(seconds, 2) for name, seconds in whole.items()},
        "tokensPerSecondAGpu": {name: round(tokens / seconds) for name, seconds in whole.items()},
        "tokensPerSecond": {
            count: {name: round(count * tokens / seconds) for name, seconds in whole.items()}
            for count in (8, 32)
        },
        "loadGB": round(read / 1e9, 1),
        "loadSeconds": slowest,
        "loadGBPerSecondARank": round(rate / ranks / 1e9, 2),
        "loadSecondsOfLarge": {
            count: math.ceil(model_bytes(LARGE, "float8") / (rate / ranks * count)) for count in (8, 32)
        },
    }


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one[name] == other[name] for name in ALIKE)


def _bytes_read(result: Mapping[str, Any]) -> int:
    model = replace(FLAVORS[result["flavor"]], num_hidden_layers=result["layers"])
    return model_bytes(model, "float8")
