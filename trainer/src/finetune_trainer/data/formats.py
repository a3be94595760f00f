"""The formats of a row, and how each becomes a conversation; text has its own module."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from finetune_trainer.contract.failure import DataError
from finetune_trainer.contract.run_data import DataSource
from finetune_trainer.data.conversation import Conversation, Train, Turn, conversation, read_tools
from finetune_trainer.data.fields import Fields, described
from finetune_trainer.data.messages import read_turns
from finetune_trainer.data.row import Line

TEXT = "text"
PAIRS = "preference"
# By which keys a row's format is recognised; the first that it has all of. A row of messages may have others.
_RECOGNISED_BY: Mapping[str, tuple[str, ...]] = {
    PAIRS: ("chosen", "rejected"),
    "chat": ("messages",),
    "sharegpt": ("conversations",),
    "alpaca": ("instruction", "output"),
    "prompt-completion": ("prompt", "completion"),
    TEXT: ("text",),
}
_SHAREGPT_ROLES = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bing", "bard", "model"), "assistant"),
    "system": "system",
    "developer": "developer",
    **dict.fromkeys(("tool", "observation", "function_response", "tool_response"), "tool"),
    "function_call": "assistant",
}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a dataset's rows are read: its fields of that name."""

    format: str = "auto"
    train: Train = "all"
    keep_thoughts: bool = False
    ignored: tuple[str, ...] = ()
    of_pairs: bool = False
    """Whether the training learns from preference pairs."""

    @classmethod
    def of(cls, source: DataSource, *, of_pairs: bool = False) -> "Reading":
        return cls(
            format=source.format,
            train=source.train,
            keep_thoughts=source.thoughts == "keep",
            ignored=source.ignore_columns,
            of_pairs=of_pairs,
        )


def recognise(line: Line, ignored: tuple[str, ...] = ()) -> str:
    """The format that the row's keys tell. Raises DataError naming them if none does."""
    keys = [key for key, value in line.row.items() if value is not None and key not in ignored]
    for name, wanted in _RECOGNISED_BY.items():
        if all(key in keys for key in wanted):
            return name
    known = "; ".join(f"{name}: {', '.join(wanted)}" for name, wanted in _RECOGNISED_BY.items())
    raise DataError(
        f"{line.place}: the keys {', '.join(keys) or '(none)'} are of no format that is known",
        remedy=f"Rename the columns to those of a format ({known}), and apply the FineTuneJob again",
    )


def format_of(first: Line, reading: Reading) -> str:
    """The rows' format. Raises DataError where the training does not learn from such rows."""
    if reading.of_pairs and reading.format == "auto" and {"chosen", "rejected"} & first.row.keys():
        return PAIRS
    found = reading.format if reading.format != "auto" else recognise(first, reading.ignored)
    if reading.of_pairs and found != PAIRS:
        raise first.error(
            f"the row is in format {found}, and training.method: dpo learns from preference pairs",
            'Give each row "prompt", "chosen" and "rejected", or set training.method: sft',
        )
    if found == PAIRS and not reading.of_pairs:
        raise first.error(
            "the row is a preference pair (chosen and rejected), and training.method: sft learns one answer",
            "Set training.method: dpo, or list both in dataset.ignoreColumns",
        )
    return found


def read_conversation(line: Line, reading: Reading) -> Conversation:
    """The row in the format that `reading` names. Raises DataError naming the line and what is wrong."""
    turns, tools = read_messages(line, reading)
    return conversation(line, turns, tools, reading.train)


def read_messages(line: Line, reading: Reading) -> tuple[list[Turn], tuple[dict[str, Any], ...]]:
    """All turns of the row, and its tools. Raises DataError naming the line and what is wrong."""
    fields = Fields(line, line.row, "the row", reading.ignored)
    try:
        turns = _READERS[reading.format](fields)
    except DataError:
        _name_another_format(line, reading)
        raise
    tools = read_tools(fields)
    fields.finish()
    return turns, tools


def _name_another_format(line: Line, reading: Reading) -> None:
    """Raises DataError if the row is in another format than the one it is read in."""
    if any(key in line.row for key in _RECOGNISED_BY[reading.format]):
        return
    other = recognise(line, reading.ignored)
    raise DataError(
        f"{line.place}: the row is in format {other}, not {reading.format}",
        remedy=f"Set dataset.format: {other}, or correct the row; all rows have to be in one format",
    )


def _chat(fields: Fields) -> list[Turn]:
    return _with_system(fields, read_turns(fields.line, fields.take("messages"), fields.ignored))


def _with_system(fields: Fields, turns: list[Turn]) -> list[Turn]:
    """The row's own column `system`, put first."""
    system = fields.take_text("system")
    if not system:
        return turns
    if any(turn.role == "system" for turn in turns):
        raise fields.line.error('the row has both "system" and a system message')
    return [Turn(message={"role": "system", "content": system}), *turns]


def _sharegpt(fields: Fields) -> list[Turn]:
    said = fields.take("conversations")
    if not isinstance(said, list) or not said:
        raise fields.line.error('no "conversations" list')
    messages = [_sharegpt_message(fields.line, number, item) for number, item in enumerate(said, start=1)]
    return _with_system(fields, read_turns(fields.line, messages, fields.ignored))


def _sharegpt_message(line: Line, number: int, item: Any) -> Any:
    if not isinstance(item, dict) or "from" not in item:  # {"role", "content"} under ShareGPT's key
        return item
    if item["from"] not in _SHAREGPT_ROLES:
        names = ", ".join(_SHAREGPT_ROLES)
        raise line.error(f"message {number} is from {item['from']!r}; it can be from {names}")
    rest = {key: value for key, value in item.items() if key not in ("from", "value")}
    message = {"role": _SHAREGPT_ROLES[item["from"]], **rest}
    # LLaMA-Factory: the call's name and arguments as a JSON text, one or a list.
    if item["from"] == "function_call":
        value = str(item.get("value")).strip()
        return message | {"tool_calls": value if value.startswith("[") else f"[{value}]"}
    return message | {"content": item.get("value")}


def _alpaca(fields: Fields) -> list[Turn]:
    """As LLaMA-Factory: the input on a line after the instruction, `history` before both."""
    instruction, given = _text(fields, "instruction"), fields.take_text("input")
    question = f"{instruction}\n{given}" if given and given.strip() else instruction
    history = fields.take("history") or []
    if not isinstance(history, list) or not all(
        isinstance(pair, list) and len(pair) == 2 for pair in history
    ):
        raise fields.line.error('"history" is no list of pairs of question and answer')
    return _with_system(fields, _pairs(fields, [*history, [question, _text(fields, "output")]]))


def _pairs(fields: Fields, pairs: list[list[Any]]) -> list[Turn]:
    texts = [text for pair in pairs for text in pair]
    roles = ("user", "assistant") * len(pairs)
    messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
    return read_turns(fields.line, messages, ())


def _prompt_completion(fields: Fields) -> list[Turn]:
    """Texts, or as TRL has it lists of messages, of which those of the completion train."""
    prompt, completion = fields.take("prompt"), fields.take("completion")
    if isinstance(prompt, list) and isinstance(completion, list):
        context = read_turns(fields.line, prompt, fields.ignored)
        answer = read_turns(fields.line, completion, fields.ignored)
        silent = [Turn(message=turn.message, thought=turn.thought, weight=False) for turn in context]
        return _with_system(fields, [*silent, *answer])
    for key, value in (("prompt", prompt), ("completion", completion)):
        if not isinstance(value, str) or not value.strip():
            what = "missing" if value is None else described(value) if not isinstance(value, str) else "empty"
            raise fields.line.error(f'"{key}" is {what}, not text')
    return _with_system(fields, _pairs(fields, [[prompt, completion]]))


def _text(fields: Fields, key: str) -> str:
    text = fields.take_text(key)
    if text is None or not text.strip():
        raise fields.line.error(f'no "{key}"')
    return text


_READERS: Mapping[str, Callable[[Fields], list[Turn]]] = {
    "chat": _chat,
    "sharegpt": _sharegpt,
    "alpaca": _alpaca,
    "prompt-completion": _prompt_completion,
}
