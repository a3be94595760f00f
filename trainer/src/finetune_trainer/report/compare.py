"""Runs compared: their curves on the same axes, their figures and answers beside each other, what differs."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from finetune_trainer.report import chart
from finetune_trainer.report.compared import Compared
from finetune_trainer.report.curves import Metrics, Point
from finetune_trainer.report.figures import GIB
from finetune_trainer.report.page import render_page
from finetune_trainer.report.samples import Answer, Answers


def compare(runs: Sequence[Compared]) -> str:
    """The page's HTML."""
    names = [run.name for run in runs]
    settings = _differences([run.settings for run in runs])
    sections: list[tuple[str, Any]] = [
        _table("Figures", names, _rows([run.figures for run in runs])),
        ("charts.html.jinja", {"charts": list(_charts(runs)), "size": chart}),
        _table("Settings that differ", names, settings),
    ]
    if samples := _samples(runs):
        sections.append(("samples.html.jinja", {"samples": samples}))
    same = "" if settings else "; their settings are the same"
    return render_page(" and ".join(names), f"{len(runs)} runs compared{same}", sections)


def _table(title: str, names: Sequence[str], rows: dict[str, list[str]]) -> tuple[str, Any]:
    return "comparison.html.jinja", {"title": title, "names": names, "rows": rows}


def _rows(facts: Sequence[dict[str, str]]) -> dict[str, list[str]]:
    """Every fact that a run has, with what each run says of it."""
    keys = dict.fromkeys(key for each in facts for key in each)
    return {key: [each.get(key, "unknown") for each in facts] for key in keys}


def _differences(settings: Sequence[dict[str, str]]) -> dict[str, list[str]]:
    return {name: values for name, values in _rows(settings).items() if len(set(values)) > 1}


def _charts(runs: Sequence[Compared]) -> Iterator[chart.Chart]:
    curves: dict[str, Callable[[Metrics], Sequence[Point]]] = {
        "Training loss": lambda metrics: metrics.curve("loss"),
        "Validation loss": lambda metrics: metrics.curve("validationLoss"),
        "Learning rate": lambda metrics: metrics.curve("learningRate"),
        "Gradient norm": lambda metrics: metrics.curve("gradNorm"),
        "Tokens a second, all processes": lambda metrics: metrics.curve("tokensPerSecond"),
        "Peak memory of the first process, GiB": lambda metrics: [
            (step, value / GIB) for step, value in metrics.curve("peakMemoryBytes")
        ],
    }
    for title, curve in curves.items():
        if drawn := chart.draw_chart(title, {run.name: curve(run.metrics) for run in runs}):
            yield drawn


def _samples(runs: Sequence[Compared]) -> list[Answers]:
    """The last answers of each run to the prompts that the first one has."""
    last = [(run, _by_prompt(run)) for run in runs]
    return [
        Answers(
            prompt=prompt,
            answers=tuple(
                Answer(when=run.name, text=answers[prompt], cut="")
                for run, answers in last
                if prompt in answers
            ),
        )
        for prompt in last[0][1]
    ]


def _by_prompt(run: Compared) -> dict[str, str]:
    samples = run.metrics.samples()
    return {sample["prompt"]: sample["text"] for sample in samples[max(samples)]} if samples else {}
