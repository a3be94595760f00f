"""A base model's chat template, rendered as transformers and vLLM render it."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from finetune_trainer.data.conversation import Message
from finetune_trainer.data.marks import GENERATED, UNGENERATED, unmarked


class ChatTemplate:
    """`special` are the tokens that a template may write by name, such as bos_token."""

    def __init__(self, source: str, special: dict[str, str]) -> None:
        """Raises jinja2.TemplateError for a source that is no template."""
        syntax = _ENVIRONMENT.parse(source)
        self.fields = _fields(syntax)
        """The names of all fields that the template reads, of messages and of other things."""
        self.marks_generation = any(True for node in syntax.find_all(nodes.CallBlock) if _is_mark(node))
        self._template = _ENVIRONMENT.from_string(source)
        self._special = special

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[dict[str, Any]] = (),
        prompt: bool = False,
        thinking: bool | None = None,
    ) -> str:
        """The text, with marks around what {% generation %} encloses.

        prompt: with the beginning of the answer that a server asks the model for. thinking: what templates
        call `thinking` or `enable_thinking`. Raises jinja2.TemplateError where the template refuses the
        messages, TypeError where it cannot take a None or an object in a text's place.
        """
        asked = {} if thinking is None else {"thinking": thinking, "enable_thinking": thinking}
        return self._template.render(
            messages=list(messages),
            add_generation_prompt=prompt,
            # transformers passes both; to a template an undefined variable "is not none".
            tools=list(tools) or None,
            documents=None,
            **self._special,
            **asked,
        )

    def plain(self, messages: Sequence[Message], **options: Any) -> str:
        """As `render`, without marks."""
        return unmarked(self.render(messages, **options))

    def succeeds(self, messages: Sequence[Message], **options: Any) -> str | None:
        """What `plain` gives; None where the template refuses."""
        try:
            return self.plain(messages, **options)
        except (TemplateError, TypeError):
            return None


class _Generation(Extension):
    """{% generation %} ... {% endgeneration %}, as in transformers' AssistantTracker."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's own way

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_marked"), [], [], body).set_lineno(line)

    def _marked(self, caller: Callable[[], str]) -> str:
        return f"{GENERATED}{caller()}{UNGENERATED}"


def _is_mark(node: nodes.CallBlock) -> bool:
    called = node.call.node
    return isinstance(called, nodes.ExtensionAttribute) and called.name == "_marked"


def _fields(syntax: nodes.Template) -> frozenset[str]:
    attributes = {node.attr for node in syntax.find_all(nodes.Getattr)}
    items = {node.arg.value for node in syntax.find_all(nodes.Getitem) if isinstance(node.arg, nodes.Const)}
    gets = {
        node.args[0].value
        for node in syntax.find_all(nodes.Call)
        if isinstance(node.node, nodes.Getattr)
        and node.node.attr == "get"
        and node.args
        and isinstance(node.args[0], nodes.Const)
    }
    return frozenset(str(name) for name in attributes | items | gets)


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _environment() -> ImmutableSandboxedEnvironment:
    """As transformers' `_compile_jinja_template` makes it."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


_ENVIRONMENT = _environment()
