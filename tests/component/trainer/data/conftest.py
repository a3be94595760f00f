"""Small byte-level tokenizers with the chat templates that models of this family carry."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from finetune_trainer.data.lines import Line
from finetune_trainer.data.tokenizer import ChatTokenizer, load_tokenizer

SPECIAL = ("<bos>", "<eos>", "<|User|>", "<|Assistant|>", "<|im_start|>", "<|im_end|>")

TEMPLATES = {
    "deepseek": (
        "{{ bos_token }}"
        "{%- for m in messages %}"
        "{%- if m.role == 'system' %}{{ m.content }}"
        "{%- elif m.role == 'user' %}{{ '<|User|>' + m.content }}"
        "{%- else %}{{ '<|Assistant|>' + m.content + eos_token }}{%- endif %}"
        "{%- endfor %}"
        "{%- if add_generation_prompt %}{{ '<|Assistant|>' }}{% endif %}"
    ),
    "thinking": (
        "{{ bos_token }}"
        "{%- for m in messages %}"
        "{%- if m.role == 'user' %}{{ '<|User|>' + m.content }}"
        "{%- elif m.role == 'assistant' %}{{ '<|Assistant|>' + m.content + eos_token }}{%- endif %}"
        "{%- endfor %}"
        "{%- if add_generation_prompt %}{{ '<|Assistant|><think>\\n' }}{% endif %}"
    ),
    "chatml": (
        "{% for m in messages %}"
        "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    ),
    "plain": "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}",
    "strict": (
        "{% for m in messages %}{% if m.role == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}{{ m.content }}{% endfor %}"
    ),
    "shouting": "{% for m in messages %}{{ m.content|upper }}{{ eos_token }}{% endfor %}",
    "ending": (
        "{% for m in messages %}{{ '<|User|>' if m.role == 'user' else '<|Assistant|>' }}{{ m.content }}"
        "{% if loop.last %}{{ eos_token }}{% endif %}{% endfor %}"
    ),
    "endless": (
        "{% for m in messages %}{{ '<|User|>' if m.role == 'user' else '<|Assistant|>' }}{{ m.content }}"
        "{% if m.role == 'assistant' and loop.index < 3 %}{{ eos_token }}{% endif %}{% endfor %}"
    ),
    "moody": "{% for m in messages %}{{ m.content[::-1] }}{{ eos_token }}{% endfor %}",
    "forgetful": "{% for m in messages %}{{ m.content if loop.last else '...' }}{{ eos_token }}{% endfor %}",
}

MakeTokenizer = Callable[..., ChatTokenizer]


def write_tokenizer(folder: Path, template: str | None, *, eos: str | None = "<eos>") -> None:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    trainer = BpeTrainer(
        vocab_size=400,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken(name, special=True, normalized=False) for name in SPECIAL],
    )
    tokenizer.train_from_iterator(["What is a finetune job? It is a manifest. " * 20], trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"bos_token": "<bos>", "eos_token": eos, "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in config.items() if v}))


@pytest.fixture
def make_tokenizer(tmp_path: Path) -> MakeTokenizer:
    def make(template: str | None = "deepseek", *, eos: str | None = "<eos>") -> ChatTokenizer:
        folder = tmp_path / "base"
        write_tokenizer(folder, TEMPLATES[template] if template else None, eos=eos)
        return load_tokenizer(folder)

    return make


@pytest.fixture
def chat_line() -> Callable[..., Line]:
    """chat_line("user", "Hi", "assistant", "Hello")"""

    def make(*parts: str) -> Line:
        pairs = zip(parts[::2], parts[1::2], strict=True)
        return Line(
            place="faq.jsonl:17", row={"messages": [{"role": role, "content": text} for role, text in pairs]}
        )

    return make
