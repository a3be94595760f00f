"""The evaluation's part of report.html, which the trainer has written when training ended."""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from finetune_converter.evaluate.score import Score
from finetune_converter.files.atomic import write_text

MARK = "<!-- evaluation -->"
"""Where the trainer's template (report/templates/evaluation.html.jinja) leaves room for it."""
_END = "<!-- end of evaluation -->"


def show_in_report(report: Path, scores: Sequence[Score]) -> None:
    """Put the figures into the page, in place of those of an evaluation before. No page, nothing to do."""
    page = report.read_text(encoding="utf-8") if report.is_file() else ""
    before, mark, rest = page.partition(MARK)
    if mark:
        after = rest.partition(_END)[2] if _END in rest else rest
        write_text(report, "".join((before, MARK, *_section(scores), _END, after)))


def _section(scores: Sequence[Score]) -> Iterator[str]:
    yield '\n<h2>Evaluation</h2>\n<table class="files">\n'
    yield _row("task", "metric", "rows", "base", "merged model", "required", "")
    for score in scores:
        verdict = "" if score.required is None else "falls short" if score.falls_short else "reached"
        figures = (str(score.rows), f"{score.base:.4g}", f"{score.tuned:.4g}")
        yield _row(score.task, score.metric, *figures, score.required or "nothing", verdict)
    yield "</table>\n"


def _row(*cells: str) -> str:
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>\n"
