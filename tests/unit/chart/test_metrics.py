"""Dashboard and alerts use the metrics of docs/guides/metrics.md, with their labels, and no other."""

import json
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import promql_parser
import pytest

ROOT = Path(__file__).parents[3]
CHART = ROOT / "helm/finetune-operator"
GUIDE = (ROOT / "docs/guides/metrics.md").read_text()
ALERTS = (CHART / "templates/prometheusrule.yaml").read_text()
DASHBOARD: dict[str, Any] = json.loads((CHART / "files/dashboard.json").read_text())
HISTOGRAM_SERIES = ("_bucket", "_sum", "_count")


def documented() -> dict[str, tuple[str, set[str]]]:
    """Type and labels of every metric in the guide's tables."""
    rows = re.findall(r"^\| `(finetune_\w+)` \| (\w+) \| ([\w, ]+) \|", GUIDE, re.MULTILINE)
    return {name: (type_, set(labels.split(", "))) for name, type_, labels in rows}


def used(text: str) -> set[str]:
    """Metrics in a PromQL expression, or in a text of several."""
    found = set(
        re.findall(r"\bfinetune_[a-z_]+\b(?!\(|\.)", text.replace("finetune_(job|deployment)_phase", ""))
    )
    return {strip(name) for name in found}


def strip(name: str) -> str:
    suffix = next((s for s in HISTOGRAM_SERIES if name.endswith(s)), "")
    base = name.removesuffix(suffix)
    return base if suffix and documented().get(base, ("",))[0] == "histogram" else name


def expressions() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))
    yield from re.findall(r"expr: (?:>-\n)?(.+?)\n          (?:for|labels):", ALERTS, re.DOTALL)


def test_every_expression_is_promql() -> None:
    for expression in expressions():
        filled = re.sub(r"\{\{.+?\}\}", "1", expression).replace("$__rate_interval", "5m")
        promql_parser.parse(filled)


def test_names_follow_prometheus_conventions() -> None:
    """https://prometheus.io/docs/practices/naming/"""
    for name, (type_, labels) in documented().items():
        assert (type_ == "counter") == name.endswith("_total"), name
        assert not labels & {"job", "instance", "le"}, name


def test_every_metric_used_is_documented() -> None:
    assert len(documented()) > 15
    for expression in expressions():
        assert used(expression) <= set(documented()), expression


def test_every_label_selected_is_one_of_the_metric() -> None:
    for expression in expressions():
        for name, selector in re.findall(r"(finetune_\w+)\{([^}]*)\}", expression):
            labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
            assert labels <= documented()[strip(name)][1], expression


def test_every_alert_is_in_the_guide() -> None:
    alerts = re.findall(r"- alert: (\w+)", ALERTS)
    assert alerts == re.findall(r"^\| ((?:FineTune|Model)\w+) \|", GUIDE.split("## Alerts")[1], re.MULTILINE)


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    for alert in ALERTS.split("- alert: ")[1:]:
        assert re.search(r"severity: (warning|critical)", alert)
        assert "kubectl" in alert.split("description:")[1]


def test_panels_have_their_own_place_and_say_what_they_show() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        x, y, width, height = (panel["gridPos"][side] for side in ("x", "y", "w", "h"))
        cells = set(product(range(x, x + width), range(y, y + height)))
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["description"], panel["title"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    "topic", ["progress_ratio", "loss", "tokens_per_second", "reconcile_duration", "queue_depth"]
)
def test_the_dashboard_shows(topic: str) -> None:
    assert any(topic in expression for expression in expressions())
