"""tokenizer.json of a base whose tokenizer is there as tiktoken.model only: Moonlight and Kimi-K2.

The rules are those that the models publish beside their weights (tokenization_moonshot.py and
tokenization_kimi.py, class TikTokenTokenizer), whose code is never run: byte-level BPE by tiktoken's ranks,
the pattern below, and special tokens after the ranks. One rule is left out: the published code cuts texts of
more than 400,000 characters, and runs of more than 25,000 without a space, before it tokenizes them.
"""

import base64
import binascii
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from finetune_trainer.contract.failure import DataError, Reason
from finetune_trainer.contract.whole_file import write_text

logger = logging.getLogger(__name__)

RANKS = "tiktoken.model"
TOKENIZER = "tokenizer.json"
_CONFIG = "tokenizer_config.json"
_CLASS = "TikTokenTokenizer"

_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
_ENDING = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
PATTERN = "|".join(
    (
        r"[\p{Han}]+",
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_ENDING}",
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_ENDING}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
RESERVED = 258
"""Special tokens after the ranks, those without a name included: as many as the model has embeddings for."""


def convert_tiktoken(folder: Path) -> None:
    """Write tokenizer.json into `folder` if there is none and its tokenizer is of the class above.

    Raises DataError for ranks or special tokens that are not as that class reads them.
    """
    if (folder / TOKENIZER).exists() or not (folder / RANKS).exists():
        return
    config = _read_config(folder)
    if config.get("tokenizer_class") != _CLASS:
        return  # of other rules: prepare/description.py says so
    tokenizer = _tokenizer(_read_ranks(folder / RANKS), config, _vocabulary(folder), folder)
    write_text(folder / TOKENIZER, tokenizer.to_str(pretty=True))
    logger.info("%s: made from %s by the published rules of %s", folder / TOKENIZER, RANKS, _CLASS)


def _tokenizer(
    ranks: Mapping[bytes, int], config: Mapping[str, Any], vocabulary: int, folder: Path
) -> Tokenizer:
    names = {token: "".join(_CHARACTERS[byte] for byte in token) for token in ranks}
    vocab = {names[token]: rank for token, rank in ranks.items()}
    merges = [(names[left], names[right]) for left, right in _merges(ranks)]
    # A piece that is a token is that token, whatever its merges would make of it: as tiktoken has it.
    tokenizer = Tokenizer(BPE(vocab, merges, fuse_unk=False, ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = _special_tokens(config, len(ranks), vocabulary)
    tokenizer.add_tokens(list(special.values()))
    for number, token in special.items():
        if tokenizer.token_to_id(token.content) != number:
            raise _invalid(folder / _CONFIG, f"special token {token.content!r} is not token {number} alone")
    return tokenizer


def _merges(ranks: Mapping[bytes, int]) -> Iterator[tuple[bytes, bytes]]:
    """Every pair of tokens that together are one, by its rank: tiktoken merges the pair of least rank."""
    for token in sorted(ranks, key=ranks.__getitem__):
        halves = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        pairs = [pair for pair in halves if pair[0] in ranks and pair[1] in ranks]
        yield from sorted(pairs, key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))


def _special_tokens(config: Mapping[str, Any], first: int, vocabulary: int) -> dict[int, AddedToken]:
    said = config.get("added_tokens_decoder", {})
    tokens = {}
    for number in range(first, min(first + RESERVED, vocabulary)):
        token = said.get(str(number), {})
        content = token.get("content", f"<|reserved_token_{number}|>")
        tokens[number] = AddedToken(content, normalized=False, special=bool(token.get("special", True)))
    return tokens


def _read_ranks(file: Path) -> dict[bytes, int]:
    """A line a token: its bytes in base64, and its rank."""
    ranks = {}
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error) as error:
            raise _invalid(file, f"line {number} is no token in base64 and its rank") from error
    if not all(bytes([byte]) in ranks for byte in range(256)):
        raise _invalid(file, "not all of the 256 bytes are tokens")
    if set(ranks.values()) != set(range(len(ranks))):
        raise _invalid(file, "the ranks are not 0, 1, 2 and so on, each once")
    return ranks


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _vocabulary(folder: Path) -> int:
    """vocab_size of config.json: a token beyond it has no embedding."""
    try:
        size = json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _invalid(folder / "config.json", "vocab_size cannot be read") from error
    if type(size) is not int:
        raise _invalid(folder / "config.json", f"vocab_size is {size!r}, which is no whole number")
    return size


def _invalid(file: Path, problem: str) -> DataError:
    return DataError(
        f"{file}: {problem}",
        Reason.BASE_INVALID,
        remedy="Fetch the tokenizer's files again, or put a tokenizer.json of the same tokens beside them",
    )


def _characters() -> dict[int, str]:
    """A printable character for each byte, as GPT-2 and all byte-level tokenizers since have it."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(0x100 + place) for place, byte in enumerate(others)
    }


_CHARACTERS = _characters()
