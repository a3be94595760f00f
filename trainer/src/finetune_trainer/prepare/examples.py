"""Some of the documents as text, with what of them trains: to be looked at before it is paid for."""

from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

from tokenizers import Tokenizer

from finetune_trainer.data.store import TokenStore
from finetune_trainer.prepare.report import Example, Segment

# Of a document so many tokens are shown.
SHOWN = 2000


def examples(store: TokenStore, base: Path, place_of: Callable[[int], str]) -> list[Example]:
    """The first document, the middle one, and the last, or the first one that lost its end.

    base: the folder with tokenizer.json. place_of: where a line of the dataset is.
    """
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    return [
        _example(store, index, tokenizer, place_of(int(store.lines[index])))
        for index in sorted(_chosen(store))
    ]


def _chosen(store: TokenStore) -> set[int]:
    cut = store.cut.nonzero()
    return {0, len(store) // 2, int(cut[0]) if len(cut) else len(store) - 1}


def _example(store: TokenStore, index: int, tokenizer: Tokenizer, place: str) -> Example:
    tokens, trained = (column.tolist() for column in store.document(index))
    return Example(
        place=place,
        tokens=len(tokens),
        trained_tokens=sum(trained),
        tokens_cut=int(store.cut[index]),
        tokens_not_shown=max(0, len(tokens) - SHOWN),
        segments=list(_segments(tokens[:SHOWN], trained[:SHOWN], tokenizer)),
    )


def _segments(tokens: list[int], trained: list[bool], tokenizer: Tokenizer) -> Iterator[Segment]:
    for trains, pairs in groupby(zip(tokens, trained, strict=True), key=lambda pair: pair[1]):
        own = [token for token, _ in pairs]
        yield Segment(text=tokenizer.decode(own, skip_special_tokens=False), trained=trains)
