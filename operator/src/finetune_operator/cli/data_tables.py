"""The data report for people: the files, how long documents are, an epoch, and some of the text."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from rich.table import Table
from rich.text import Text

Report = dict[str, Any]

_BAR = 40
_TRAINS = "green"
# Where there is no colour.
_MARKS = ("⟦", "⟧")


def source_names(report: Report) -> str:
    """Return what the data is of."""
    return ", ".join(source["source"] for source in report["sources"])


def sources_table(report: Report) -> Table:
    """Return one row per source: its part of an epoch."""
    table = Table(box=None, pad_edge=False)
    table.add_column("SOURCE")
    for column in ("DOCUMENTS", "TOKENS THAT TRAIN", "SHARE", "TIMES AN EPOCH"):
        table.add_column(column, justify="right")
    for source in report["sources"]:
        table.add_row(
            Text(source["source"]),
            f"{source['documents']:,}",
            f"{source['trainedTokens']:,}",
            f"{source['share']:.1%}",
            f"{source['epochPasses']:.3g}",
        )
    return table


def files_table(report: Report) -> Table:
    """Return one row per file: what was read, what trains, what is cut and dropped, and where."""
    table = Table(box=None, pad_edge=False)
    table.add_column("FILE")
    table.add_column("FORMAT")
    for column in ("ROWS", "DOCUMENTS", "TOKENS", "TRAIN", "LONGEST"):
        table.add_column(column, justify="right")
    table.add_column("CUT")
    table.add_column("DROPPED")
    for file in report["byFile"]:
        table.add_row(
            Text(file["name"]),
            file["format"],
            f"{file['rows']:,}",
            f"{file['documents']:,}",
            f"{file['tokens']:,}",
            f"{file['trainedTokens'] / max(1, file['tokens']):.1%}",
            f"{file['longestDocument']:,}",
            _cut(file),
            _dropped(file),
        )
    return table


def _cut(file: Report) -> str:
    if not file["truncatedLines"]:
        return "none"
    places = _places(file["firstTruncated"], file["truncatedLines"])
    return f"{file['tokensCut']:,} tokens of {file['truncatedLines']:,} rows ({places})"


def _dropped(file: Report) -> str:
    parts = (
        f"{count:,} {why} ({_places(file['firstDropped'][why], count)})"
        for why, count in file["dropped"].items()
    )
    return ", ".join(parts) or "none"


def _places(first: list[str], count: int) -> str:
    return ", ".join(first) + (", ..." if count > len(first) else "")


def histogram_table(report: Report) -> Table:
    """Return how many documents of all files have up to so many tokens."""
    counts: Counter[int] = Counter()
    for file in report["byFile"]:
        counts.update({int(bound): count for bound, count in file["histogram"].items()})
    table = Table(box=None, pad_edge=False)
    table.add_column("TOKENS", justify="right")
    table.add_column("DOCUMENTS", justify="right")
    table.add_column("")
    most = max(counts.values())
    for bound in sorted(counts):
        bar = "#" * max(1, round(_BAR * counts[bound] / most))
        table.add_row(f"{bound // 2 + 1:,} to {bound:,}" if bound > 1 else "1", f"{counts[bound]:,}", bar)
    return table


def epoch_line(report: Report) -> str:
    """Return what an epoch, and the whole run, are in steps."""
    steps, last, batch = report["epochSteps"], report["lastStepSequences"], report["batchSequences"]
    partly = f", the last of {last}" if last < batch else ""
    validating = report["validationDocuments"]
    kept = f"; {validating:,} documents are kept to validate" if validating else ""
    return (
        f"One epoch: {report['sequences']:,} sequences of {report['sequenceLength']:,} tokens, "
        f"{report['packedShare']:.1%} full; {steps:,} step{'s' * (steps != 1)} of {batch} sequences{partly}. "
        f"The run: {report['steps']:,} steps{kept}."
    )


def examples_text(report: Report, *, coloured: bool) -> Iterator[Text]:
    """Yield some conversations; what trains is in colour, or between marks where there is none."""
    for example in report["examples"]:
        how = "in green" if coloured else f"between {_MARKS[0]} and {_MARKS[1]}"
        counts = f"{example['trainedTokens']:,} of {example['tokens']:,} tokens train"
        text = Text(f"{example['place']}: {counts} ({how})\n")
        for segment in example["segments"]:
            if not segment["trained"]:
                text.append(segment["text"], style="dim")
            elif coloured:
                text.append(segment["text"], style=_TRAINS)
            else:
                text.append(f"{_MARKS[0]}{segment['text']}{_MARKS[1]}")
        if example["tokensNotShown"]:
            text.append(f"\n... {example['tokensNotShown']:,} tokens more are not shown", style="italic")
        if example["tokensCut"]:
            text.append(
                f"\n{example['tokensCut']:,} tokens are cut here: training.sequenceLength", style="red"
            )
        yield text
