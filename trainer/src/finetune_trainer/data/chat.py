"""A line in chat format, {"messages": [{"role": ..., "content": ...}, ...]}: the assistant's turns train."""

from dataclasses import dataclass

from jinja2 import TemplateError

from finetune_trainer.data.document import Document, Dropped
from finetune_trainer.data.lines import Line
from finetune_trainer.data.tokenizer import ChatTokenizer

Message = dict[str, str]
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, kw_only=True)
class Chat:
    """A rendered conversation; of each assistant turn the characters [start, end) that the model writes."""

    text: str
    turns: tuple[tuple[int, int], ...]


def chat_document(line: Line, tokenizer: ChatTokenizer, longest: int) -> Document | Dropped:
    """The line as a document of at most `longest` positions.

    A conversation that is too long ends after its last assistant turn that fits whole: a cut answer would
    teach to stop in mid-sentence. Raises DataError naming the line.
    """
    chat = render_chat(line, read_messages(line), tokenizer)
    tokens, offsets = tokenizer.encode_rendered(chat.text)
    document = Document(tokens=tokens, trained=_trained(offsets, chat.turns))
    if document.tokens[-1] != tokenizer.eos_id:
        # A template without an end of its own: without this the model would never learn to stop.
        document = Document(tokens=[*tokens, tokenizer.eos_id], trained=[*document.trained, True])
    return _fitted(document, offsets, chat.turns, longest)


def read_messages(line: Line) -> list[Message]:
    """The messages up to the last assistant turn; what follows it would train nothing."""
    messages = line.row.get("messages")
    if not isinstance(messages, list) or not messages:
        raise line.error('no "messages" list')
    checked = [_message(line, number, message) for number, message in enumerate(messages, start=1)]
    roles = [message["role"] for message in checked]
    if "assistant" not in roles:
        raise line.error("no assistant turn")
    if "system" in roles[1:]:
        raise line.error("a system message can only be the first")
    if next(role for role in roles if role != "system") == "assistant":
        raise line.error("the assistant's turn has no user turn before it")
    return checked[: len(roles) - roles[::-1].index("assistant")]


def _message(line: Line, number: int, message: object) -> Message:
    if not isinstance(message, dict):
        raise line.error(f"message {number} is not an object")
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        raise line.error(f"message {number} has role {role!r}; roles are {', '.join(ROLES)}")
    if not isinstance(content, str) or not content.strip():
        raise line.error(f"message {number} ({role}) has no content")
    return {"role": role, "content": content}


def render_chat(line: Line, messages: list[Message], tokenizer: ChatTokenizer) -> Chat:
    """Render `messages`; a turn begins where the prompt that a server would send for it ends."""
    turns = []
    text = _render(line, tokenizer, messages)
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt = _render(line, tokenizer, messages[:index], add_generation_prompt=True)
        answered = _render(line, tokenizer, messages[: index + 1])
        if not text.startswith(answered):
            raise line.error(f"the chat template changes message {index + 1} when later turns follow it")
        # Some templates open a thought in the prompt that an answer without one does not have.
        start = _common_prefix(prompt, answered)
        turns.append((start, len(answered.rstrip())))
    return Chat(text=text.rstrip(), turns=tuple(turns))


def _common_prefix(a: str, b: str) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _render(
    line: Line, tokenizer: ChatTokenizer, messages: list[Message], *, add_generation_prompt: bool = False
) -> str:
    try:
        return tokenizer.render(messages, add_generation_prompt=add_generation_prompt)
    except TemplateError as error:
        raise line.error(f"the base model's chat template refuses the messages: {error}") from error


def _trained(offsets: list[tuple[int, int]], turns: tuple[tuple[int, int], ...]) -> list[bool]:
    """A token trains if it writes a character of the assistant's, as in transformers' assistant mask.

    A tokenizer may trim a token's offsets to nothing where it stands for a space.
    """
    trained = [False] * len(offsets)
    for start, end in turns:
        for index, (first, last) in enumerate(offsets):
            trained[index] |= first < end and last > start
    return trained


def _fitted(
    document: Document, offsets: list[tuple[int, int]], turns: tuple[tuple[int, int], ...], longest: int
) -> Document | Dropped:
    if document.length <= longest:
        return document
    ends = [sum(last <= end for _, last in offsets) for _, end in turns]
    fitting = [end for end in ends if end - 1 <= longest]
    if fitting:
        return document.cut(fitting[-1])
    return Dropped.PROMPT_TOO_LONG if document.trained.index(True) > longest else Dropped.ANSWER_TOO_LONG
