"""Text that every machine with Python has: the docstrings of its standard library."""

import ast
import random
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# Tests, vendored copies and tables: text that is not documentation.
_LEFT_OUT = {"__pycache__", "encodings", "ensurepip", "idlelib", "lib2to3", "site-packages", "test", "tests"}
# No more than a minute's training can take in.
CHATS, PASSAGES = 700, 40
_FIRST_SENTENCE = re.compile(r"(.{15,160}?\.)(\s|$)")


class Documented(NamedTuple):
    """A public function or class of a public module, and its docstring with the white space folded."""

    name: str
    docstring: str


class Corpus(NamedTuple):
    """Chats are [question, answer] pairs; passages are plain paragraphs."""

    chats: list[tuple[str, str]]
    passages: list[str]


def read_corpus(seed: int) -> Corpus:
    """The standard library's docstrings as questions with answers and as passages, in a seeded order."""
    documented = [entry for path in _modules() for entry in _documented(path)]
    chats = [
        (_question(entry.name, index), match.group(1))
        for index, entry in enumerate(documented)
        if (match := _FIRST_SENTENCE.match(entry.docstring))
    ]
    passages = [entry.docstring[:400] for entry in documented if len(entry.docstring) > 300]
    shuffle = random.Random(seed).shuffle
    shuffle(chats)
    shuffle(passages)
    return Corpus(chats[:CHATS], passages[:PASSAGES])


def _question(name: str, index: int) -> str:
    forms = ("What does {} do?", "What is {} for?", "Tell me about {}.")
    return forms[index % len(forms)].format(name)


def _modules() -> Iterator[Path]:
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).with_suffix("").parts
        if not _LEFT_OUT & set(parts) and not any(part.startswith("_") for part in parts):
            yield path


def _documented(path: Path) -> Iterator[Documented]:
    """The module's public functions and classes, methods left out: a hundred `close` teach little."""
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            docstring = " ".join((ast.get_docstring(node) or "").split())
            if docstring:
                yield Documented(f"{path.stem}.{node.name}", docstring)
