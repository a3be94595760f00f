"""A message in OpenAI's form, checked: {"role": ..., "content": ..., "tool_calls": ...}."""

import json
from typing import Any

from finetune_trainer.data.conversation import Message, Turn, from_json_text
from finetune_trainer.data.fields import Fields, described
from finetune_trainer.data.row import Line

ROLES = ("system", "developer", "user", "assistant", "tool")
THOUGHTS = ("reasoning_content", "reasoning", "thinking")
# Whether a turn trains, as OpenAI and Mistral, TRL and Together, axolotl, ms-swift name it.
WEIGHTS = ("weight", "train", "trainable", "training", "loss")
_TEXT_PARTS = ("text", "input_text", "output_text")
_OLD_CALL = "has function_call, OpenAI's old form"


def read_turns(line: Line, messages: Any, ignored: tuple[str, ...]) -> list[Turn]:
    """Raises DataError naming the line and the message."""
    if not isinstance(messages, list) or not messages:
        raise line.error('no "messages" list')
    return [_turn(line, number, message, ignored) for number, message in enumerate(messages, start=1)]


def _turn(line: Line, number: int, message: Any, ignored: tuple[str, ...]) -> Turn:
    if not isinstance(message, dict):
        raise line.error(f"message {number} is {described(message)}, not an object")
    role = message.get("role")
    if role not in ROLES:
        raise line.error(f"message {number} has role {role!r}; roles are {', '.join(ROLES)}")
    fields = Fields(line, message, f"message {number} ({role})", ignored)
    fields.take("role")
    content, thought = _content(fields)
    calls = _calls(fields) if role == "assistant" else []
    if role == "assistant":
        thought = _thought(fields, thought)
    turn = Turn(message=_message(fields, role, content, calls), thought=thought, weight=_weight(fields, role))
    fields.finish()
    if not calls and not (content or "").strip() and role not in ("system", "tool"):
        raise line.error(f"{fields.where} has no content")
    return turn


def _message(fields: Fields, role: str, content: str | None, calls: list[Message]) -> Message:
    message: Message = {"role": role, "content": "" if content is None and not calls else content}
    if calls:
        message["tool_calls"] = calls
    for key in ("name", "tool_call_id") if role == "tool" else ("name",):
        if (value := fields.take_text(key)) is not None:
            message[key] = value
    return message


def _content(fields: Fields) -> tuple[str | None, tuple[str, str] | None]:
    """The text, and a thought that is among its parts."""
    content = fields.take("content")
    if content is None or isinstance(content, str):
        return content, None
    if not isinstance(content, list):
        hint = "; write it in quotes" if not isinstance(content, dict) else ""
        raise fields.line.error(f"the content of {fields.where} is {described(content)}, not text{hint}")
    texts, thoughts = [], []
    for number, part in enumerate(content, start=1):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in _TEXT_PARTS and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind == "thinking" and isinstance(part.get("thinking"), str):
            thoughts.append(part["thinking"])
        else:
            what = f"of type {kind}" if isinstance(kind, str) else described(part)
            raise fields.line.error(f"part {number} of {fields.where} is {what}; only text can be trained on")
    # As vLLM joins them for a template that takes text.
    return "\n".join(texts) if texts else None, ("thinking", "\n".join(thoughts)) if thoughts else None


def _thought(fields: Fields, thought: tuple[str, str] | None) -> tuple[str, str] | None:
    found = [(key, text) for key in THOUGHTS if (text := fields.take_text(key)) and text.strip()]
    found += [thought] if thought else []
    if len({text for _, text in found}) > 1:
        names = " and ".join(key for key, _ in found)
        raise fields.line.error(f"{fields.where} has two thoughts, in {names}")
    return found[0] if found else None


def _weight(fields: Fields, role: str) -> bool | None:
    said = {}
    for key in WEIGHTS:
        if (value := fields.take(key)) is None:
            continue
        if not isinstance(value, bool | int | float) or value not in (0, 1):
            raise fields.line.error(f'"{key}" of {fields.where} is {value!r}; it can be 0 or 1')
        said[key] = bool(value)
    if len(set(said.values())) > 1:
        raise fields.line.error(
            f"{fields.where} says both that it trains and that it does not ({', '.join(said)})"
        )
    weight = next(iter(said.values()), None)
    if weight and role != "assistant":
        raise fields.line.error(f"{fields.where} is to train; only the assistant's turns can")
    return weight


def _calls(fields: Fields) -> list[Message]:
    if fields.take("function_call") is not None:
        raise fields.line.error(f"{fields.where} {_OLD_CALL}; write tool_calls")
    calls = from_json_text(fields, "tool_calls", fields.take("tool_calls")) or []
    if not isinstance(calls, list):
        raise fields.line.error(f"tool_calls of {fields.where} is {described(calls)}, not a list")
    return [_call(fields, number, call) for number, call in enumerate(calls, start=1)]


def _call(fields: Fields, number: int, call: Any) -> Message:
    """{"type": "function", "function": {"name", "arguments"}}; Hugging Face's is the function alone."""
    where = f"tool call {number} of {fields.where}"
    if not isinstance(call, dict):
        raise fields.line.error(f"{where} is {described(call)}, not an object")
    outer = Fields(fields.line, call, where, (*fields.ignored, "index"))
    function = outer.take("function")
    inner = Fields(fields.line, function, where, fields.ignored) if isinstance(function, dict) else outer
    kind, identity = outer.take_text("type"), outer.take_text("id")
    if kind not in (None, "function"):
        raise fields.line.error(f"{where} is of type {kind}, not function")
    name, arguments = inner.take_text("name"), inner.take("arguments")
    if not name:
        raise fields.line.error(f"{where} has no function's name")
    inner.finish()
    outer.finish()
    found: Message = {
        "type": "function",
        "function": {"name": name, "arguments": _arguments(inner, arguments)},
    }
    return ({"id": identity} if identity else {}) | found


def _arguments(fields: Fields, arguments: Any) -> str:
    """The arguments as the JSON text of an object, which is how a model writes them."""
    if arguments is None:
        return "{}"
    if isinstance(arguments, dict):
        return json.dumps(arguments, ensure_ascii=False)
    text = arguments if isinstance(arguments, str) else ""
    if not text.strip():
        return "{}"
    try:
        if isinstance(json.loads(text), dict):
            return text
    except ValueError:
        pass
    raise fields.line.error(f"the arguments of {fields.where} are no JSON object")
