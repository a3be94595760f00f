"""A small tokenizer with DeepSeek's added tokens, of which most that steer are not flagged as special."""

# ruff: noqa: RUF001 - the tokens are written with a full-width bar

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

BOS, EOS, PAD = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"
TAGS = ("<｜User｜>", "<｜Assistant｜>", "<think>", "</think>")
TOOL_TAGS = tuple(
    f"<｜tool▁{name}｜>"
    for name in (
        *("calls▁begin", "calls▁end", "call▁begin", "call▁end", "sep"),
        *("outputs▁begin", "outputs▁end", "output▁begin", "output▁end"),
    )
)


def deepseek_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=300, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(["What is a finetune job? It is a manifest. " * 20], trainer)
    tokenizer.add_special_tokens(
        [AddedToken(text, special=True, normalized=False) for text in (BOS, EOS, PAD)]
    )
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in TAGS + TOOL_TAGS])
    return tokenizer


def write_tokenizer(folder: Path, config: str) -> None:
    """tokenizer.json, and `config` as tokenizer_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    deepseek_tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(config, encoding="utf-8")
