"""Which source each sequence of a run is of, so that at every point of it each has had its share."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm


@dataclass(frozen=True, kw_only=True)
class Part:
    """One source's sequences in a packing."""

    sequences: int
    trained_tokens: int
    """Of these sequences, what the loss counts."""
    share: float | None
    """Of the tokens that the loss counts, beside the other parts'. None: in proportion to its size."""
    name: str = ""
    """What people know the source by."""
    pairs: int = 0
    """Of these sequences, the preference pairs, each of which counts as much as any other."""

    @property
    def counted(self) -> int:
        """What the loss is the mean of."""
        return self.pairs or self.trained_tokens

    @property
    def weight(self) -> Fraction:
        """How often a sequence is of this part, beside the others' weights.

        A sequence of long answers counts more tokens than one of short ones, and so comes less often.
        """
        if self.share is None:
            return Fraction(self.sequences)
        return Fraction(str(self.share)) * self.sequences / max(1, self.counted)


class Mixture:
    """Sequence n of a run is sequence k of a part: `mixture[n]` is the part's number and k, without end.

    As seats in a parliament go to parties (Webster's method, https://en.wikipedia.org/wiki/Sainte-Lague_method):
    the next one goes to the part with the smallest (2k + 1) / weight, where k is what it has had. So the
    first n are shared out as weights demand, whatever n is, and one n is found without going through those
    before it. In whole numbers: every machine finds the same.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        weights = [part.weight for part in parts]
        whole = lcm(*(weight.denominator for weight in weights))
        self._weights = [int(weight * whole) for weight in weights]
        self._total = sum(self._weights)
        multiple = lcm(*self._weights)
        # The k-th sequence of a part, from 0, is due at (2k + 1) times its period.
        self._periods = [multiple // weight for weight in self._weights]
        self._sequences = [part.sequences for part in parts]

    def __getitem__(self, index: int) -> tuple[int, int]:
        counts = self._counts_by(max(0, index - len(self._weights)))
        for _ in range(index - sum(counts)):
            counts[self._next(counts)] += 1
        part = self._next(counts)
        return part, counts[part]

    @property
    def epoch(self) -> int:
        """Sequences until every sequence of every part has come once, and each part has had its share."""
        parts = enumerate(self._sequences)
        come = max(self._place(part, count - 1) for part, count in parts) + 1
        pairs = zip(self._sequences, self._weights, strict=True)
        return max(come, *(-(-count * self._total // weight) for count, weight in pairs))

    def passes(self, sequences: int) -> list[float]:
        """How often the first `sequences` of a run go through each part."""
        counts = [0] * len(self._weights)
        if sequences:
            part, number = self[sequences - 1]
            due = (2 * number + 1) * self._periods[part]
            counts = [self._due(other, due, after=other > part) for other in range(len(counts))]
        return [count / whole for count, whole in zip(counts, self._sequences, strict=True)]

    def _next(self, counts: Sequence[int]) -> int:
        return min(range(len(counts)), key=lambda part: ((2 * counts[part] + 1) * self._periods[part], part))

    def _counts_by(self, index: int) -> list[int]:
        """What is due after `index` shares of a sequence: of each part its quota, rounded."""
        return [(2 * index * weight + self._total) // (2 * self._total) for weight in self._weights]

    def _place(self, part: int, number: int) -> int:
        """The place in the run of a part's sequence."""
        due = (2 * number + 1) * self._periods[part]
        return sum(self._due(other, due, after=other > part) for other in range(len(self._periods))) - 1

    def _due(self, part: int, due: int, *, after: bool) -> int:
        """How many sequences of a part are due by then; `after`: one that is due just then comes later."""
        return ((due - after) // self._periods[part] + 1) // 2
