"""Real vLLM serves the demo's base, and computes what transformers computes."""

import json
from pathlib import Path

import httpx
import pytest
import torch
from click.testing import CliRunner
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase
from vllm_server import ROOT, VllmServer

from finetune_operator.cli import finetune
from finetune_operator.serving.server_requests import ServerRequests, parse_metrics

pytestmark = pytest.mark.chain

QUESTIONS = [
    json.loads(line)["messages"][0]["content"]
    for line in (ROOT / "examples" / "data" / "faq.jsonl").read_text(encoding="utf-8").splitlines()
]
NEW_TOKENS = 24


@pytest.fixture(scope="module")
def tokenizer(tiny_base: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(tiny_base)


@pytest.fixture(scope="module")
def prompts(tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    chats = [[{"role": "user", "content": question}] for question in QUESTIONS]
    return [tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"] for chat in chats]


@pytest.fixture(scope="module")
def greedy(server: VllmServer, prompts: list[list[int]]) -> list[list[int]]:
    return server.greedy_tokens(prompts, NEW_TOKENS)


def test_a_chat_is_rendered_by_the_models_own_template(server: VllmServer, prompts: list[list[int]]) -> None:
    body = {"messages": [{"role": "user", "content": QUESTIONS[0]}], "return_token_ids": True}
    answer = server.post("/v1/chat/completions", body | {"max_tokens": NEW_TOKENS, "temperature": 0})
    assert answer["prompt_token_ids"] == prompts[0]
    assert answer["choices"][0]["message"]["content"].strip()


def test_the_greedy_tokens_are_those_of_transformers(
    tiny_base: Path, prompts: list[list[int]], greedy: list[list[int]]
) -> None:
    """Each token of vLLM's is the likeliest after those before it, but for ties within float32's rounding.

    Both add the same numbers in another order, which depends on the batch: at logits of about 10 they
    differ by 1e-5, and by then two tokens that close may change places.
    """
    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()
    for prompt, answer in zip(prompts, greedy, strict=True):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + answer]), use_cache=False).logits[0]
        likeliest = logits[len(prompt) - 1 : -1].log_softmax(-1)
        written = likeliest.gather(1, torch.tensor(answer)[:, None])[:, 0]
        torch.testing.assert_close(written, likeliest.amax(-1), atol=1e-4, rtol=0)


def test_the_base_has_learned_to_end_its_answers(
    greedy: list[list[int]], tokenizer: PreTrainedTokenizerBase
) -> None:
    ended = sum(answer[-1] == tokenizer.eos_token_id for answer in greedy)
    assert ended > len(greedy) / 2


def test_a_load_of_chats_has_the_tokens_that_were_asked_for(server: VllmServer) -> None:
    """By vLLM's own counts: its tokenizer makes the chats, its usage counts the answers."""
    options = ["--concurrency", "4", "--requests", "8", "--input-tokens", "64", "--output-tokens", "16"]
    said = CliRunner().invoke(finetune, ["bench", "model", "--url", server.url, *options, "-o", "json"])
    (figures,) = json.loads(said.output)
    assert (figures["requests"], figures["failed"]) == (8, 0)
    assert figures["output_tokens_per_second"] == pytest.approx(8 * 16 / figures["seconds"], rel=0.01)
    assert figures["input_tokens"] == pytest.approx(64, rel=0.15)
    assert 0 < figures["ttft"]["p50"] <= figures["ttft"]["p99"]
    assert figures["tpot"]["p50"] > 0


def test_its_own_metrics_tell_what_a_canary_is_judged_by(server: VllmServer) -> None:
    def counted() -> ServerRequests:
        return parse_metrics(httpx.get(f"{server.url}/metrics", trust_env=False).content)

    server.post("/v1/completions", {"prompt": "Hello", "max_tokens": 1})
    before = counted()
    server.chat(QUESTIONS[0], max_tokens=1)
    after = counted()
    assert after.count == before.count + 1
    assert after.error_percent == 0
    assert 0 < (after.first_token_within(0.95) or 0) < float("inf")
