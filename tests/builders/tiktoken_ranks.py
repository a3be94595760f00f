"""A tiktoken.model learnt from a text, Moonlight's files around it, and tiktoken's algorithm in Python."""

import base64
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import regex

SPECIAL = {"[BOS]": True, "[EOS]": True, "<|im_end|>": True, "<|tool_call_begin|>": False}


def learnt_ranks(text: str, pattern: str, tokens: int) -> dict[bytes, int]:
    """The 256 bytes, then the pair that is seen most, and so on."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    words = Counter(tuple(bytes([byte]) for byte in word.encode()) for word in split(text, pattern))
    while len(ranks) < tokens:
        pairs = Counter[tuple[bytes, bytes]]()
        for word, count in words.items():
            for pair in pairwise(word):
                pairs[pair] += count
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        ranks.setdefault(b"".join(best), len(ranks))
        words = Counter({_joined(word, best): count for word, count in words.items()})
    return ranks


def _joined(word: tuple[bytes, ...], pair: tuple[bytes, bytes]) -> tuple[bytes, ...]:
    parts: list[bytes] = []
    for part in word:
        if parts and (parts[-1], part) == pair:
            parts[-1] += part
        else:
            parts.append(part)
    return tuple(parts)


def split(text: str, pattern: str) -> list[str]:
    return regex.findall(f"(?V1){pattern}", text)


def encode(text: str, ranks: dict[bytes, int], pattern: str) -> list[int]:
    """As tiktoken's _educational.py: of a piece's neighbours the pair of least rank is merged, and again."""
    ids = []
    for piece in split(text, pattern):
        data = piece.encode()
        if data in ranks:
            ids.append(ranks[data])
            continue
        parts = [bytes([byte]) for byte in data]
        while True:
            found = [
                (ranks[parts[i] + parts[i + 1]], i)
                for i in range(len(parts) - 1)
                if parts[i] + parts[i + 1] in ranks
            ]
            if not found:
                break
            _, at = min(found)
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        ids += [ranks[part] for part in parts]
    return ids


def write_tiktoken(folder: Path, ranks: dict[bytes, int], *, vocabulary: int) -> None:
    """tiktoken.model, tokenizer_config.json and config.json as Moonlight has them."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks.items()]
    (folder / "tiktoken.model").write_text("".join(lines))
    added = {
        str(len(ranks) + number): {"content": content, "special": special}
        for number, (content, special) in enumerate(SPECIAL.items())
    }
    config = {
        "tokenizer_class": "TikTokenTokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_moonshot.TikTokenTokenizer", None]},
        "added_tokens_decoder": added,
        "bos_token": "[BOS]",
        "eos_token": "[EOS]",
        "chat_template": "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text(json.dumps({"vocab_size": vocabulary}))
