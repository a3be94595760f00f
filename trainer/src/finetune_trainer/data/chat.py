"""A conversation as documents: what the base model's template writes; the assistant's turns train."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from finetune_trainer.data.conversation import Conversation, Message, Turn
from finetune_trainer.data.dialect import Dialect
from finetune_trainer.data.document import Document, Dropped
from finetune_trainer.data.formats import Reading, read_conversation
from finetune_trainer.data.marks import RESERVED
from finetune_trainer.data.rendering import Rendered, Span, check_tools, render
from finetune_trainer.data.row import Line
from finetune_trainer.data.template import ChatTemplate
from finetune_trainer.data.thoughts import with_inline_thought, written_whole
from finetune_trainer.data.tokenizer import ChatTokenizer, Offsets
from finetune_trainer.data.turns import TurnFinder


@dataclass(frozen=True, kw_only=True)
class Chat:
    """A rendered conversation: [start, end) in characters of what trains, and of tags that people wrote."""

    text: str
    trained: tuple[Span, ...]
    as_text: tuple[Span, ...] = ()


class ChatReader:
    """Rows to documents, by a base model's tokenizer; keeps what it learns of the templates."""

    def __init__(self, tokenizer: ChatTokenizer, reading: Reading, longest: int) -> None:
        """longest: positions of a document."""
        self._tokenizer, self._reading, self._longest = tokenizer, reading, longest
        self._known: dict[ChatTemplate, tuple[Dialect, TurnFinder]] = {}

    def documents(self, line: Line) -> list[Document | Dropped]:
        """One document, and with `thoughts: keep` one for each turn that the template changes later.

        A conversation that is too long ends after its last answer that fits whole: a cut answer would teach
        to stop in mid-sentence. Raises DataError naming the line.
        """
        conversation = read_conversation(line, self._reading)
        if not conversation.trained:
            return [Dropped.NOTHING_TRAINS]
        return [self._document(line, chat) for chat in self._chats(line, conversation)]

    def document(self, line: Line, conversation: Conversation) -> Document:
        """All of a conversation with one answer, as one document. Raises DataError naming the line."""
        documents = [self._document(line, chat) for chat in self._chats(line, conversation)]
        if len(documents) != 1 or not isinstance(documents[0], Document):
            raise line.error(
                "the chat template strips thoughts of several turns, so the answer is not one text"
            )
        return documents[0]

    def _chats(self, line: Line, conversation: Conversation) -> list[Chat]:
        tools = conversation.tools
        template = self._tokenizer.template(tools=bool(tools))
        dialect, finder = self._learnt(template)
        messages = [self._message(line, *numbered, dialect) for numbered in enumerate(conversation.turns, 1)]
        check_tools(line, template, messages, tools)
        whole = render(line, template, messages, tools)
        kept = [turn for turn in sorted(conversation.trained) if _is_there(whole, turn)]
        if not self._reading.keep_thoughts:
            _refuse_dropped(whole, conversation.trained)
        chats = [self._chat(whole, finder.spans(whole, kept, tools))] if kept else []
        if kept and not template.marks_generation:
            self._refuse_endless(whole, kept, chats[0])
        for turn in sorted(conversation.trained - set(kept)):
            alone = render(line, template, messages[: turn + 1], tools)
            chats.append(self._alone(alone, template, finder, tools))
        return chats

    def _refuse_endless(self, rendered: Rendered, turns: Sequence[int], chat: Chat) -> None:
        """Raises DataError for an answer without an end token after it: the model would never stop there.

        The conversation's own end is not among them: an end of sequence follows it.
        """
        for turn, (start, end) in zip(turns, chat.trained, strict=True):
            if end < len(chat.text) and not self._tokenizer.control.ends(chat.text[start:end]):
                raise rendered.error(turn, "writes no end token after the answer")

    def _alone(
        self,
        rendered: Rendered,
        template: ChatTemplate,
        finder: TurnFinder,
        tools: Sequence[dict[str, object]],
    ) -> Chat:
        """The conversation up to its last message, which alone trains."""
        last = len(rendered.messages) - 1
        if last not in rendered.bounds:
            raise rendered.error(last, "does not render the content")
        spans = finder.spans(rendered, [last], tools)
        if _is_there(rendered, last):
            return self._chat(rendered, spans)
        whole, start = written_whole(rendered, template, tools, (spans[0][0], spans[-1][1]))
        return self._chat(whole, [(start, len(whole.text))])

    def _learnt(self, template: ChatTemplate) -> tuple[Dialect, TurnFinder]:
        if template not in self._known:
            self._known[template] = Dialect.of(template), TurnFinder(template)
        return self._known[template]

    def _message(self, line: Line, number: int, turn: Turn, dialect: Dialect) -> Message:
        """The message as the template takes it. Raises DataError for what it cannot take."""
        if turn.role != "assistant" and not dialect.knows(turn.role):
            raise line.error(
                f"message {number}: the chat template takes role {turn.role} for the assistant's",
                "Give it a role that the template has, or add a template that has this one",
            )
        message = dialect.message(turn)
        if turn.role == "assistant" and message["content"]:
            message["content"] = self._tokenizer.control.without_end(message["content"])
        if turn.thought and not dialect.thought_key(turn.thought[0]):
            if not self._reading.keep_thoughts:
                raise line.error(
                    f"message {number} has {turn.thought[0]}, which the base model's template does not read",
                    "Set dataset.thoughts: keep to train it in think tags, or list it in ignoreColumns",
                )
            message = with_inline_thought(message, turn.thought[1])
        self._refuse_control(line, number, turn, message)
        return message

    def _refuse_control(self, line: Line, number: int, turn: Turn, message: Message) -> None:
        said = [message["content"] or "", *(turn.thought or ())[1:]]
        said += [call["function"]["arguments"] for call in turn.message.get("tool_calls", ())]
        for text in said:
            if found := RESERVED.search(text):
                raise line.error(
                    f"message {number} holds U+{ord(found[0]):04X}, which is no character of a text"
                )
            if turn.role == "assistant" and (found := self._tokenizer.control.of_turns.search(text)):
                raise line.error(
                    f"message {number} (assistant) holds the control token {found[0]} in its text",
                    "Write each turn as a message of its own, or delete the token",
                )

    def _chat(self, rendered: Rendered, trained: Sequence[Span]) -> Chat:
        text = rendered.text.rstrip()
        spans = tuple((start, min(end, len(text))) for start, end in trained)
        return Chat(text=text, trained=spans, as_text=tuple(self._written_tags(rendered)))

    def _written_tags(self, rendered: Rendered) -> list[Span]:
        """Where others than the assistant wrote the text of a token that steers."""
        control, spans = self._tokenizer.control, []
        for number, message in enumerate(rendered.messages):
            tags = control.all_tags if message["role"] in ("user", "tool") else control.of_turns
            content = message["content"].strip() if message["role"] != "assistant" else ""
            if tags.search(content):
                start = rendered.text.index(content)
                start, end = rendered.bounds.get(number, (start, start + len(content)))
                spans += [match.span() for match in tags.finditer(rendered.text, start, end)]
        return spans

    def _document(self, line: Line, chat: Chat) -> Document | Dropped:
        tokens, offsets = self._tokenizer.encode_rendered(chat.text, chat.as_text)
        trained = _trained(offsets, chat.trained)
        if tokens[-1] != self._tokenizer.eos_id:
            # A template without an end of its own: without this the model would never learn to stop.
            tokens, trained = [*tokens, self._tokenizer.eos_id], [*trained, True]
        self._tokenizer.check(line, tokens)
        return _fitted(Document(tokens=tokens, trained=trained), offsets, chat.trained, self._longest)


def _is_there(rendered: Rendered, turn: int) -> bool:
    return turn in rendered.bounds and rendered.stripped(turn) is None


def _refuse_dropped(rendered: Rendered, turns: Iterable[int]) -> None:
    """Raises DataError for the first of `turns` that the template did not write whole."""
    for turn in sorted(turns):
        if part := rendered.stripped(turn):
            raise rendered.dropped(part)
        if turn not in rendered.bounds:
            raise rendered.error(turn, "does not render the content")


def _trained(offsets: Offsets, spans: Sequence[Span]) -> list[bool]:
    """A token trains if it writes a character of the assistant's, as in transformers' assistant mask.

    A tokenizer may trim a token's offsets to nothing where it stands for a space. Linear: both are in order.
    """
    trained, place = [False] * len(offsets), 0
    for index, (first, last) in enumerate(offsets):
        while place < len(spans) and spans[place][1] <= first:
            place += 1
        trained[index] = place < len(spans) and first < spans[place][1] and last > spans[place][0]
    return trained


def _fitted(document: Document, offsets: Offsets, spans: Sequence[Span], longest: int) -> Document | Dropped:
    if document.length <= longest:
        return document
    lasts = [last for _, last in offsets]
    fitting = [end for _, stop in spans if (end := bisect_right(lasts, stop)) - 1 <= longest]
    if fitting:
        return document.cut(fitting[-1])
    return Dropped.PROMPT_TOO_LONG if document.trained.index(True) > longest else Dropped.ANSWER_TOO_LONG
