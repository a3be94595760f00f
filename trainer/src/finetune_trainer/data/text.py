"""A line in text format: {"text": "..."}. All of it trains."""

from finetune_trainer.data.document import Document
from finetune_trainer.data.fields import Fields
from finetune_trainer.data.row import Line
from finetune_trainer.data.tokenizer import ChatTokenizer


def text_documents(
    line: Line, tokenizer: ChatTokenizer, longest: int, ignored: tuple[str, ...] = ()
) -> list[Document]:
    """The line as documents of at most `longest` positions; no token is lost as a label between two of them.

    Raises DataError naming the line.
    """
    fields = Fields(line, line.row, "the row", ignored)
    text = fields.take_text("text")
    if text is None or not text.strip():
        raise line.error('no "text"')
    fields.finish()
    tokens = tokenizer.encode_text(text)
    tokenizer.check(line, tokens)
    parts = [tokens[first : first + longest + 1] for first in range(0, len(tokens) - 1, longest)]
    return [Document(tokens=part, trained=[True] * len(part)) for part in parts]
