"""A task's questions, put to one model: what it answers, and how that is scored."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from finetune_converter.evaluate.harness import ask_harness
from finetune_converter.evaluate.scoring import answer_of, is_right
from finetune_converter.evaluate.server import RefusedError, Server
from finetune_converter.evaluate.task import LM_EVAL, PERPLEXITY, TOOL_CALL, Question, Task
from finetune_converter.failure import Failure, Reason

AT_ONCE = 32
"""Questions that the server works on together: it batches them itself."""

Record = dict[str, Any]
"""Of one question: where it is from, what was answered, and whether that is right; or its log-probability."""


def ask_all(
    pool: ThreadPoolExecutor, server: Server, task: Task, done: Callable[[], None]
) -> Iterator[Record]:
    """Yield a record a question, in their order. Raises Failure naming the question that is not taken."""
    ask = _ASK.get(task.metric, _answer)
    futures = [pool.submit(ask, server, task, question) for question in task.questions]
    for question, future in zip(task.questions, futures, strict=True):
        try:
            yield {"at": question["at"], **future.result()}
        except RefusedError as error:
            raise Failure(
                f"evaluation.tasks {task.name}: {question['at']}: vLLM does not take the question: {error}",
                Reason.EVALUATION_INVALID,
                "Correct or delete the row, or raise evaluation.maxModelLen, and apply the FineTuneJob again",
            ) from error
        done()


def _answer(server: Server, task: Task, question: Question) -> Record:
    """The greedy answer."""
    tools = {"tools": question["tools"]} if "tools" in question else {}
    if tools and task.metric != TOOL_CALL:
        tools["tool_choice"] = "none"
    body = {"messages": question["messages"], "temperature": 0, "max_tokens": task.max_tokens, **tools}
    choice = server.ask("/v1/chat/completions", body)["choices"][0]
    answer = answer_of(choice["message"])
    calls = {"calls": list(answer.calls)} if answer.calls else {}
    cut = {"cut": True} if choice.get("finish_reason") == "length" else {}
    right = is_right(task.metric, question["expected"], answer)
    return {"answer": answer.text, **calls, **cut, "right": right}


def _perplexity(server: Server, _task: Task, question: Question) -> Record:
    """The log-probability of the last turn's tokens, or of a text's after its first; how many they are."""
    tokens, before = _tokens(server, question)
    body = {"prompt": tokens, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
    logprobs = server.ask("/v1/completions", body)["choices"][0]["prompt_logprobs"]
    told = [
        logprobs[position][str(token)]["logprob"]
        for position, token in enumerate(tokens)
        if position >= max(before, 1)
    ]
    return {"logprob": sum(told), "tokens": len(told)}


def _tokens(server: Server, question: Question) -> tuple[list[int], int]:
    """The tokens, and how many of them are asked and not answered."""
    if "text" in question:
        text: list[int] = server.ask("/tokenize", {"prompt": question["text"]})["tokens"]
        if len(text) < 2:
            raise RefusedError("its text is a single token")
        return text, 0
    messages = question["messages"]
    tools = {"tools": question["tools"]} if "tools" in question else {}
    whole = server.ask("/tokenize", {"messages": messages, "add_generation_prompt": False, **tools})["tokens"]
    asked = {"messages": messages[:-1], "add_generation_prompt": True, **tools}
    prompt = server.ask("/tokenize", asked)["tokens"]
    if whole[: len(prompt)] != prompt or len(whole) == len(prompt):
        raise RefusedError("the chat template writes the answer elsewhere than after the prompt")
    return whole, len(prompt)


_ASK: Mapping[str, Callable[[Server, Task, Question], Record]] = {
    PERPLEXITY: _perplexity,
    LM_EVAL: ask_harness,
}
"""What differs from a greedy answer."""
