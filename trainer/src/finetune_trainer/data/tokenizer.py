"""The base model's own tokenizer and chat template."""

from pathlib import Path

from torchtitan.components.tokenizer import HuggingFaceTokenizer

from finetune_trainer.contract.failure import DataError, Reason


class ChatTokenizer:
    """Renders and tokenizes as an inference server does for the same messages."""

    def __init__(self, tokenizer: HuggingFaceTokenizer, folder: Path) -> None:
        self._tokenizer = tokenizer
        self.folder = folder
        if tokenizer.eos_id is None:
            raise _invalid(
                f"{folder}: the tokenizer has no eos_token", "Set eos_token in tokenizer_config.json"
            )
        self.eos_id: int = tokenizer.eos_id

    @property
    def has_chat_template(self) -> bool:
        return self._tokenizer._chat_template is not None

    def render(self, messages: list[dict[str, str]], *, add_generation_prompt: bool = False) -> str:
        """The chat template's text. Raises jinja2.TemplateError where the template refuses the messages."""
        return self._tokenizer.apply_chat_template(
            messages,
            add_generation_prompt=add_generation_prompt,
            bos_token=self._tokenizer.bos_token or "",
            eos_token=self._tokenizer.eos_token or "",
            # transformers passes both; to a template an undefined variable "is not none".
            tools=None,
            documents=None,
        )

    def encode_rendered(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Token ids of a rendered chat, and of each the characters [start, end) that it stands for.

        A template writes its own beginning-of-sequence token, so none is added.
        """
        encoding = self._tokenizer.tokenizer.encode(text, add_special_tokens=False)
        return encoding.ids, encoding.offsets

    def encode_text(self, text: str) -> list[int]:
        """Token ids of a plain text, with one beginning-of-sequence (if the model has it) and one end."""
        return self._tokenizer.encode(text, add_bos=True, add_eos=True)


def load_tokenizer(folder: Path) -> ChatTokenizer:
    """The tokenizer in a model's folder; DataError if it is missing or cannot be read."""
    if not (folder / "tokenizer.json").exists():
        raise _invalid(f"{folder}: tokenizer.json is missing", "Add the tokenizer's files of the base model")
    try:
        tokenizer = HuggingFaceTokenizer(tokenizer_path=str(folder))
    # tokenizers raises a bare Exception, jinja2 and json their own.
    except Exception as error:
        raise _invalid(
            f"{folder}: the tokenizer cannot be read ({error})", "Fetch its files again"
        ) from error
    return ChatTokenizer(tokenizer, folder)


def _invalid(message: str, remedy: str) -> DataError:
    return DataError(message, Reason.BASE_INVALID, remedy=remedy)
