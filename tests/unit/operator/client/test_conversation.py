"""What comes of an answer as it streams: thoughts apart, where the server takes them out."""

import json
from typing import Any

import httpx
import pytest

from finetune_operator.cli.chat import _ask
from finetune_operator.client import conversation as module
from finetune_operator.client.conversation import Conversation, Piece

THOUGHT, ANSWER = Piece(text="Two and two.", is_thought=True), Piece(text="4")
DEPLOYMENT = {"metadata": {"name": "faq"}, "spec": {}}


def answering(monkeypatch: pytest.MonkeyPatch, *answers: list[dict[str, Any]]) -> list[Any]:
    """A server's answers in turn; returns the messages that it is asked."""
    asked: list[Any] = []
    left = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content)["messages"])
        events = [json.dumps({"choices": [{"delta": delta}]}) for delta in next(left)]
        return httpx.Response(200, text="".join(f"data: {e}\n\n" for e in [*events, "[DONE]"]))

    monkeypatch.setattr(module, "_CLIENT", httpx.Client(transport=httpx.MockTransport(answer)))
    return asked


def talk() -> Conversation:
    return Conversation("http://faq", DEPLOYMENT, None, {})


@pytest.mark.parametrize(
    ("deltas", "pieces"),
    [
        pytest.param([{"role": "assistant", "content": ""}, {"content": "4"}], [ANSWER], id="no thought"),
        pytest.param([{"reasoning": "Two and two."}, {"content": "4"}], [THOUGHT, ANSWER], id="vLLM's"),
        pytest.param([{"reasoning_content": "Two and two."}], [THOUGHT], id="DeepSeek's, and no answer"),
        pytest.param([{"reasoning": "Two and two.", "content": "4"}], [THOUGHT, ANSWER], id="both at once"),
        pytest.param([{"content": None, "reasoning": None}], [], id="nothing"),
    ],
)
def test_thoughts_are_told_from_the_answer(
    monkeypatch: pytest.MonkeyPatch, deltas: list[dict[str, Any]], pieces: list[Piece]
) -> None:
    answering(monkeypatch, deltas)
    assert list(talk().pieces("2+2?")) == pieces


def test_the_next_question_goes_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    thinking = [{"reasoning": "Two and two."}, {"content": "4"}]
    asked = answering(monkeypatch, thinking, thinking)
    conversation = talk()
    assert [conversation.ask("2+2?"), "".join(conversation.stream("Sure?"))] == ["4", "4"]
    assert [message["content"] for message in asked[1]] == ["2+2?", "4", "Sure?"]


@pytest.mark.parametrize(
    ("deltas", "printed", "beside"),
    [
        pytest.param([{"content": "4"}], "4\n", "", id="an answer"),
        pytest.param([{"reasoning": "2, 2"}, {"content": "4"}], "4\n", "2, 2\n", id="a thought first"),
        pytest.param([{"reasoning": "2, 2"}], "\n", "2, 2\nThere is no answer", id="a thought alone"),
    ],
)
def test_what_chat_prints(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    deltas: list[dict[str, Any]],
    printed: str,
    beside: str,
) -> None:
    answering(monkeypatch, deltas)
    _ask(talk(), "2+2?")
    out, err = capsys.readouterr()
    assert (out, err[: len(beside)]) == (printed, beside)
