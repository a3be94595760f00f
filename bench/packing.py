"""How full sequences are: the best fit of a window of documents, and what went before, the next fit.

`python bench/packing.py` takes a minute and no accelerator. Lengths are drawn, seeded, from three
distributions; the share of positions that hold a document is what a step trains on, whatever its speed.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from finetune_trainer.data.packing import WINDOW, Members, pack
from report import write_report

DOCUMENTS = 1_000_000
SEQUENCE_LENGTH = 4096
SEED = 0


def main() -> None:
    figures = {
        "documents": DOCUMENTS,
        "sequenceLength": SEQUENCE_LENGTH,
        "window": WINDOW,
        "distributions": {name: _compare(draw) for name, draw in DISTRIBUTIONS.items()},
        "peakMemoryMiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10),
    }
    write_report("packing", figures, packages=("torch",))


def _log_normal(median: float, spread: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(SEED)
    lengths = torch.exp(torch.randn(DOCUMENTS, generator=generator) * spread) * median
    return lengths.round().long().clamp(8, SEQUENCE_LENGTH)


def _mixed() -> torch.Tensor:
    """Short chats with one in five of several thousand tokens, as tool and reasoning traces are."""
    generator = torch.Generator().manual_seed(SEED)
    is_long = torch.rand(DOCUMENTS, generator=generator) < 0.2
    return torch.where(is_long, _log_normal(2200, 0.5), _log_normal(250, 0.8))


DISTRIBUTIONS: dict[str, Callable[[], torch.Tensor]] = {
    "short chats, median 300 tokens": lambda: _log_normal(300, 0.9),
    "chats of several turns, median 1,000 tokens": lambda: _log_normal(1000, 0.8),
    "short chats and one in five long": _mixed,
}


def _compare(draw: Callable[[], torch.Tensor]) -> dict[str, Any]:
    lengths = draw()
    tokens = int(lengths.sum())
    before = _next_fit(lengths)
    with tempfile.TemporaryDirectory() as folder:
        sources = [Members(documents=torch.arange(DOCUMENTS))]
        options = {"lengths": lengths, "sources": sources, "sequence_length": SEQUENCE_LENGTH, "seed": SEED}
        start = time.perf_counter()
        after = len(pack(Path(folder), **options))
        seconds = time.perf_counter() - start
    return {
        "meanTokens": round(tokens / DOCUMENTS),
        "longerThanHalfASequence": round(float((lengths > SEQUENCE_LENGTH / 2).float().mean()), 3),
        "filledBefore": round(tokens / (before * SEQUENCE_LENGTH), 4),
        "filledAfter": round(tokens / (after * SEQUENCE_LENGTH), 4),
        "moreTokensAStep": round(before / after - 1, 4),
        "documentsASecond": round(DOCUMENTS / seconds),
    }


def _next_fit(lengths: torch.Tensor) -> int:
    """Sequences, where each is filled in shuffled order until the next document does not fit."""
    order = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(SEED))
    sequences, filled = 0, SEQUENCE_LENGTH + 1
    for length in lengths[order].tolist():
        if filled + length > SEQUENCE_LENGTH:
            sequences, filled = sequences + 1, 0
        filled += length
    return sequences


if __name__ == "__main__":
    sys.exit(main())
