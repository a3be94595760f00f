"""The files beside the weights: the base's, and the tokenizer and templates that the adapter brings."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetune_converter.adapter.tokenizer import (
    CONFIG,
    check_vocabulary,
    ends_otherwise,
    not_taken,
    replaced_files,
    tokenizer_files,
)
from finetune_converter.adapter.vocabulary import EMBEDDINGS
from finetune_converter.failure import Reason
from finetune_converter.files.atomic import copy_file, write_json, write_text
from finetune_converter.files.json_object import read_json_object
from finetune_converter.model_files.companions import CODE, carried_files, left_out_files
from finetune_converter.model_files.model_card import BASE_CARD, CARD
from finetune_converter.model_files.model_folder import ModelFolder


@dataclass(frozen=True, kw_only=True)
class Companions:
    """What is written beside the weights and config.json, by its name in the merged model."""

    copied: Mapping[str, Path]
    """Byte for byte."""
    rewritten: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """JSON that named code, which is never carried over: without that name."""
    notes: tuple[str, ...] = ()


def plan_companions(base: ModelFolder, adapter: Path) -> Companions:
    """The base's files, and the adapter's tokenizer and templates in the place of the base's.

    Raises Failure(AdapterMismatch) for a tokenizer with tokens that the base has no embeddings for.
    """
    embeddings = base.tensors.get(EMBEDDINGS)
    if embeddings is not None:
        check_vocabulary(adapter, embeddings.entry.shape[0])
    taken, replaced = tokenizer_files(adapter), replaced_files(adapter)
    carried = [name for name in carried_files(base.path) if name not in replaced]
    copied = {BASE_CARD if name == CARD else name: base.path / name for name in carried}
    copied |= {name: adapter / name for name in taken}
    rewritten = _without_code(copied)
    return Companions(
        copied={name: path for name, path in copied.items() if name not in rewritten},
        rewritten=rewritten,
        notes=(
            *_of_tokenizer(base.path, adapter, taken, replaced),
            *_of_what_was_trained_with(base.path, adapter),
            *_of_left_out(base, rewritten),
        ),
    )


def write_companions(companions: Companions, card: str, folder: Path) -> list[str]:
    """Write them, `card` as README.md among them; the names."""
    for name, path in companions.copied.items():
        copy_file(path, folder / name)
    for name, content in companions.rewritten.items():
        write_json(folder / name, content)
    write_text(folder / CARD, card)
    return [*companions.copied, *companions.rewritten, CARD]


def _without_code(files: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    if CONFIG not in files:
        return {}
    content = read_json_object(files[CONFIG], Reason.BASE_INVALID, "Fetch the model again")
    return (
        {CONFIG: {name: value for name, value in content.items() if name != CODE}} if CODE in content else {}
    )


def _of_tokenizer(
    base: Path, adapter: Path, taken: frozenset[str], replaced: frozenset[str]
) -> tuple[str, ...]:
    """What of the tokenizer is not the base's."""
    changed = sorted(name for name in taken if _bytes_of(adapter / name) != _bytes_of(base / name))
    dropped = sorted(name for name in replaced - taken if (base / name).is_file())
    if not changed and not dropped:
        return ()
    without = f", without the base's {', '.join(dropped)}" if dropped else ""
    return (f"The tokenizer is the adapter's: {', '.join(sorted(taken))}{without}.",)


def _of_what_was_trained_with(base: Path, adapter: Path) -> Iterator[str]:
    """What the adapter has besides, and where its tokenizer and the base's generation contradict."""
    if left := not_taken(adapter):
        yield f"Not taken from the adapter: {', '.join(left)}."
    if said := ends_otherwise(adapter, base):
        yield said


def _of_left_out(base: ModelFolder, rewritten: Mapping[str, Any]) -> tuple[str, ...]:
    left_out = left_out_files(base.path, base.files)
    notes = []
    if left_out:
        notes.append(f"Not carried over from the base: {', '.join(left_out)}.")
    if rewritten or CODE in base.config:
        names = [*(["config.json"] if CODE in base.config else []), *rewritten]
        notes.append(
            f"{' and '.join(names)} named code ({CODE}), which is never carried over: removed there."
        )
    return tuple(notes)


def _bytes_of(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
