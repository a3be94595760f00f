"""A line in text format: {"text": "..."}. All of it trains."""

from finetune_trainer.data.document import Document
from finetune_trainer.data.lines import Line
from finetune_trainer.data.tokenizer import ChatTokenizer


def text_documents(line: Line, tokenizer: ChatTokenizer, longest: int) -> list[Document]:
    """The line as documents of at most `longest` positions; no token is lost as a label between two of them.

    Raises DataError naming the line.
    """
    text = line.row.get("text")
    if not isinstance(text, str) or not text.strip():
        raise line.error('no "text"')
    tokens = tokenizer.encode_text(text)
    parts = [tokens[first : first + longest + 1] for first in range(0, len(tokens) - 1, longest)]
    return [Document(tokens=part, trained=[True] * len(part)) for part in parts]
