"""Prompts that are answered as training goes on: what the model gets, what ends it, what is refused."""

import json
from contextlib import nullcontext
from itertools import chain, repeat

import pytest
import torch
from deepseek_tokenizer import BOS, EOS, TAGS, write_tokenizer
from torch import nn

from finetune_trainer.contract.failure import ConfigurationError
from finetune_trainer.data.tokenizer import load_tokenizer
from finetune_trainer.train import samples as samples_module
from finetune_trainer.train.samples import Sampler, encoded_prompts

TEMPLATE = "{% for m in messages %}{{ bos_token }}U:{{ m.content }}A:{% endfor %}"
NAMES = {"bos_token": BOS, "eos_token": EOS}


class Scripted(nn.Module):
    """Answers with the next of `script`, whatever it is asked."""

    def __init__(self, script, vocabulary):
        super().__init__()
        self.script, self.vocabulary, self.asked = iter(script), vocabulary, []
        self.lm_head = nn.Identity()

    def get_attention_masks(self, _positions):
        return None

    def forward(self, tokens, **_):
        self.asked.append(tokens)
        logits = torch.zeros(*tokens.shape, self.vocabulary)
        logits[..., next(self.script)] = 1
        return logits


@pytest.fixture
def base(tmp_path):
    def base(**config):
        write_tokenizer(tmp_path, json.dumps(NAMES | config))
        return tmp_path

    return base


@pytest.fixture
def one_process(monkeypatch):
    monkeypatch.setattr(samples_module, "any_rank", lambda flag: flag)
    monkeypatch.setattr(samples_module, "gather_objects", lambda value: [value])


def sampler(base, **config):
    return Sampler.Config(prompts=("What is it?",), **config).build(
        base=base, length=64, rank=0, ranks=1, device=torch.device("cpu"), context=nullcontext
    )


@pytest.mark.parametrize(
    ("config", "chat", "text"),
    [
        pytest.param({"chat_template": TEMPLATE}, True, f"{BOS}U:What is it?A:", id="chat"),
        pytest.param({"chat_template": TEMPLATE}, False, f"{BOS}What is it?", id="data that is text"),
        pytest.param({}, True, f"{BOS}What is it?", id="a base without a template"),
    ],
)
def test_a_prompt_is_what_a_server_would_answer_to(base, config, chat, text):
    tokenizer = load_tokenizer(base(**config))
    (tokens,) = encoded_prompts(Sampler.Config(prompts=("What is it?",), chat=chat), tokenizer, 1000)
    assert tokenizer.decode(tokens) == text


@pytest.mark.parametrize(
    ("length", "refused"), [pytest.param(28, True, id="too long"), pytest.param(60, False, id="fits")]
)
def test_a_prompt_that_leaves_no_room_is_refused(base, length, refused):
    tokenizer = load_tokenizer(base())
    config = Sampler.Config(prompts=("What?", "What is a finetune job? It is"), max_tokens=20)
    if not refused:
        assert len(encoded_prompts(config, tokenizer, length)) == 2
        return
    with pytest.raises(ConfigurationError, match=r"training\.samples\.prompts\[1\]: \d+ tokens"):
        encoded_prompts(config, tokenizer, length)


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize(
    ("script", "text", "end"),
    [
        pytest.param("It is<eos>", "It is", "stop", id="stop"),
        pytest.param("It<other end>", "It", "stop", id="an end that generation_config.json names"),
        pytest.param("It is a job", "It is", "length", id="length"),
    ],
)
def test_what_ends_an_answer(base, script, text, end):
    folder = base()
    tokenizer = load_tokenizer(folder)
    (user,) = tokenizer.encode_rendered(TAGS[0])[0]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [tokenizer.eos_id, user]}))
    script = script.replace("<eos>", EOS).replace("<other end>", TAGS[0])
    tokens = tokenizer.encode_rendered(script)[0]
    most = len(tokenizer.encode_rendered("It is")[0]) if end == "length" else 20
    (sample,) = sampler(folder, max_tokens=most).generate(Scripted(tokens, 400))
    assert (sample.prompt, sample.text, sample.end) == ("What is it?", text, end)


@pytest.mark.usefixtures("one_process")
def test_an_answer_ends_with_its_time(base, monkeypatch):
    moments = chain([0.0, 1.0, 2.0], repeat(100.0))
    monkeypatch.setattr(samples_module.time, "monotonic", lambda: next(moments))
    model = Scripted([65] * 100, 400)
    (sample,) = sampler(base(), max_tokens=20, max_seconds=10).generate(model)
    assert (len(model.asked), sample.end) == (2, "time")
    assert model.training


@pytest.mark.usefixtures("one_process")
def test_nothing_is_compiled_for_their_shape(base):
    def refuse(_graph, _inputs):
        pytest.fail("compiled")

    model = Scripted(repeat(65), 512)
    model.forward = torch.compile(model.forward, backend=refuse)
    (sample,) = sampler(base(), max_tokens=2).generate(model)
    assert sample.end == "length"
