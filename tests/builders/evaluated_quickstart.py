"""The quickstart, of whose models vLLM is also asked for tool calls, and lm-eval's questions."""

import json
from pathlib import Path
from typing import Any

import yaml

EXAMPLES = Path(__file__).parents[2] / "examples"
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"properties": {"city": {"type": "string"}}}},
}
CALL = {"name": "weather", "arguments": {"city": "Paris"}}
CALLED = f"<tool_call>\n{json.dumps(CALL)}\n</tool_call>"  # as vLLM's parser hermes reads it
QUIZ = {
    "task": "quiz",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "quiz.jsonl"}},
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}",
    "doc_to_choice": "choices",
    "doc_to_target": "answer",
    "target_delimiter": "",
}
ROWS = 20


def write_evaluated_quickstart(storage: Path) -> Path:
    """Put what it needs into a storage folder; returns the job's manifest, which serves its model too."""
    chats = [json.loads(line)["messages"] for line in (EXAMPLES / "data/faq.jsonl").read_text().splitlines()]
    asked = {"role": "user", "content": "What is the weather in Paris?"}
    _write(storage / "datasets/calls.jsonl", [{"messages": [asked, _said(CALLED)]}] * 8)
    _write(
        storage / "evaluations/calls.jsonl",
        [
            {"messages": [asked], "tools": [TOOL], "expected": [CALL]},
            {"messages": chats[0][:1], "tools": [TOOL], "expected": []},
        ],
    )
    _write(storage / "evaluations/quiz/quiz.jsonl", map(_quiz, chats[:ROWS], chats[7:], chats[14:]))
    (storage / "evaluations/quiz/quiz.yaml").write_text(yaml.safe_dump(QUIZ))
    job = next(yaml.safe_load_all((EXAMPLES / "quickstart.yaml").read_text()))
    spec = job["spec"]
    spec["dataset"] = {
        "sources": [{"uri": "datasets/faq.jsonl"}, {"uri": "datasets/calls.jsonl"}],
        "validationShare": spec["dataset"]["validationShare"],
    }
    harness = {"task": "quiz", "applyChatTemplate": True}
    spec["evaluation"]["tasks"] += [
        {"name": "calls", "uri": "evaluations/calls.jsonl", "metric": "tool_call", "maxTokens": 60},
        {"name": "quiz", "uri": "evaluations/quiz", "metric": "lm_eval", "lmEval": harness},
    ]
    spec["evaluation"]["require"] |= {"calls": ">= 1", "quiz": "better than base by 0.2"}
    arguments = ["--enable-auto-tool-choice", "--tool-call-parser=hermes"]
    spec["deployment"] = {"device": "cpu", "maxModelLen": 512, "engineArgs": arguments}
    manifest = storage / "job.yaml"
    manifest.write_text(yaml.safe_dump(job))
    return manifest


def _quiz(right: Any, *wrong: Any) -> dict[str, Any]:
    choices = [answer["content"] for _, answer in (right, *wrong)]
    return {"question": right[0]["content"], "choices": choices, "answer": 0}


def _said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _write(file: Path, rows: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
