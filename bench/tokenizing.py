"""How fast rows become tokens, and that the time is linear in a conversation's length.

`python bench/tokenizing.py` takes some minutes and no accelerator. The tokenizer is a small one with
DeepSeek's added tokens, and the template is DeepSeek-V3.1's: what is measured beside the tokenizer's own time
is ours.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finetune_trainer.data.formats import Reading
from finetune_trainer.data.tokenize import DocumentReader
from finetune_trainer.data.tokenizer import ChatTokenizer, load_tokenizer
from report import write_report

TESTS = Path(__file__).parents[1] / "tests"
TEMPLATE = TESTS / "component/trainer/data/cases/08-v31-think.tokenizer_config.json"
SHORT, LONG = 50_000, 30
TURNS = (50, 100, 200, 400)
WORDS = "It is a manifest that says what a finetune job has to do, and on which machines it does it. "


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = _tokenizer(Path(folder))
        figures = {
            "conversationByTurns": {turns: _measured(tokenizer, [_chat(turns, 3)]) for turns in TURNS},
            "shortConversations": _measured(tokenizer, (_chat(1, 1) for _ in range(SHORT))),
            "longConversations": _measured(tokenizer, (_chat(200, 3) for _ in range(LONG))),
            "peakMemoryMiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10),
        }
    write_report("tokenizing", figures, packages=("tokenizers", "jinja2"))


def _tokenizer(folder: Path) -> ChatTokenizer:
    sys.path.insert(0, str(TESTS / "builders"))
    from deepseek_tokenizer import write_tokenizer

    write_tokenizer(folder, TEMPLATE.read_text(encoding="utf-8"))
    return load_tokenizer(folder)


def _chat(turns: int, sentences: int) -> dict[str, Any]:
    said = [{"role": role, "content": WORDS * sentences} for role in ("user", "assistant") * turns]
    return {"messages": said}


def _measured(tokenizer: ChatTokenizer, rows: Any) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "chats.jsonl"
        with file.open("w") as lines:
            lines.writelines(f"{json.dumps(row)}\n" for row in rows)
        started = time.perf_counter()
        tokens, first, count = 0, list[list[int]](), 0
        for document in _documents(file, tokenizer):
            tokens, count = tokens + len(document), count + 1
            first += [document] if count <= 50 else []
        seconds = time.perf_counter() - started
    return {
        "rows": count,
        "tokens": tokens,
        "seconds": round(seconds, 2),
        "rowsPerSecond": round(count / seconds, 1),
        "tokensPerSecond": round(tokens / seconds),
        "shareOfTheTokenizerAlone": round(_alone(tokenizer, first) / seconds * count / len(first), 2),
    }


def _documents(file: Path, tokenizer: ChatTokenizer) -> Iterator[list[int]]:
    documents = DocumentReader(files={file.name: file}, reading=Reading(), tokenizer=tokenizer, longest=10**9)
    for document in documents:
        yield document.tokens


def _alone(tokenizer: ChatTokenizer, documents: list[list[int]]) -> float:
    texts = [tokenizer.decode(document) for document in documents]
    started = time.perf_counter()
    for text in texts:
        tokenizer.encode_rendered(text)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
