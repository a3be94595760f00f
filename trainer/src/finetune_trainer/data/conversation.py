"""A conversation, whatever its format was: messages as chat templates take them, and which train."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from finetune_trainer.data.fields import Fields, described
from finetune_trainer.data.row import Line

Message = dict[str, Any]
Train = Literal["all", "last", "weighted"]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """`message` has role and content, which may be None beside tool calls; the assistant's may have more."""

    message: Message
    thought: tuple[str, str] | None = None
    """The key that held the assistant's thought, and the thought."""
    weight: bool | None = None
    """Whether the row says that this turn trains; None where it says nothing."""

    @property
    def role(self) -> str:
        return str(self.message["role"])


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """`trained` holds the numbers of the turns that train, which are the assistant's."""

    turns: tuple[Turn, ...]
    trained: frozenset[int]
    tools: tuple[dict[str, Any], ...] = ()


def conversation(
    line: Line, turns: list[Turn], tools: tuple[dict[str, Any], ...], train: Train
) -> Conversation:
    """The turns up to the last one that trains; what follows it would train nothing.

    A turn of the assistant before the first of the user is context only. Raises DataError if the assistant
    never answers.
    """
    roles = [turn.role for turn in turns]
    if "assistant" not in roles:
        raise line.error("no assistant turn")
    first_user = roles.index("user") if "user" in roles else len(roles)
    answers = [number for number, role in enumerate(roles) if role == "assistant" and number > first_user]
    if not answers:
        raise line.error("no turn of the assistant has a user's turn before it")
    if train == "last":
        answers = answers[-1:]
    chosen = [number for number in answers if _trains(turns[number], train)]
    end = chosen[-1] + 1 if chosen else len(turns)
    return Conversation(turns=tuple(turns[:end]), trained=frozenset(chosen), tools=tools)


def _trains(turn: Turn, train: Train) -> bool:
    return turn.weight is True if train == "weighted" else turn.weight is not False


def read_tools(fields: Fields) -> tuple[dict[str, Any], ...]:
    """The row's top-level `tools` in OpenAI's form; datasets in parquet hold them as a JSON text."""
    tools = from_json_text(fields, "tools", fields.take("tools"))
    if tools is None:
        return ()
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise fields.line.error(f'"tools" is {described(tools)}, not a list of objects')
    return tuple(_tool(tool) for tool in tools)


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """The whole form of a tool that is its function alone, as in LLaMA-Factory and OpenAI's Responses."""
    if "function" in tool or "name" not in tool:
        return tool
    return {"type": "function", "function": {key: value for key, value in tool.items() if key != "type"}}


def from_json_text(fields: Fields, key: str, value: Any) -> Any:
    """`value`, or what it holds as a JSON text; an empty one is as none."""
    if not isinstance(value, str):
        return value or None
    try:
        return json.loads(value) or None if value.strip() else None
    except ValueError as error:
        raise fields.line.error(f'"{key}" of {fields.where} is text that is not JSON: {error}') from error
