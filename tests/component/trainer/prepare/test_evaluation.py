"""An evaluation's tasks, read before anything is trained: what the stage is given, and what is refused."""

import json
from pathlib import Path

import pytest

from finetune_trainer.__main__ import main
from finetune_trainer.contract.failure import DataError
from finetune_trainer.contract.run_file import RunFolders, load_run
from finetune_trainer.prepare.evaluation import prepare_evaluation

USER, ANSWER = {"role": "user", "content": "A?"}, {"role": "assistant", "content": "B"}
ASKED = {"messages": [USER]}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = {"name": "weather", "arguments": {"city": "Paris"}}


@pytest.fixture
def questions(volume):
    """A function that has a task's rows read; what is written for the stage."""

    def questions(metric, *rows, **task):
        file = volume.root / "evaluations/faq.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
        path = {"uri": "evaluations/faq.jsonl", "path": "evaluations/faq.jsonl", "split": "test"}
        source = volume.source | path | task.pop("source", {})
        said = {"name": "faq", "metric": metric, "source": source, "limit": None, "maxTokens": 16, **task}
        volume.document["evaluation"] = {"tasks": [said], "require": {}}
        run = load_run(Path(volume.arguments[volume.arguments.index("--run") + 1]))
        folders = RunFolders(root=volume.root, paths=run.paths)
        prepare_evaluation(run, folders)
        return [json.loads(line) for line in folders.questions("faq").read_text().splitlines()]

    return questions


@pytest.mark.parametrize(
    ("metric", "row", "question"),
    [
        pytest.param(
            "exact_match", {"messages": [USER, ANSWER]}, ASKED | {"expected": ["B"]}, id="the last turn"
        ),
        pytest.param("exact_match", ASKED | {"expected": "C"}, ASKED | {"expected": ["C"]}, id="its own"),
        pytest.param(
            "contains",
            {"messages": [USER, ANSWER], "expected": ["C", "D"]},
            ASKED | {"expected": ["C", "D"]},
            id="several, and an answer that is not asked",
        ),
        pytest.param("regex", ASKED | {"expected": "^B"}, ASKED | {"expected": "^B"}, id="a pattern"),
        pytest.param(
            "exact_match", {"instruction": "A?", "output": "B"}, ASKED | {"expected": ["B"]}, id="alpaca"
        ),
        pytest.param(
            "json_schema",
            ASKED | {"expected": {"type": "object"}},
            ASKED | {"expected": {"type": "object"}},
            id="a schema",
        ),
        pytest.param(
            "tool_call",
            {"messages": [USER, {"role": "assistant", "tool_calls": [CALL]}], "tools": [TOOL]},
            ASKED | {"tools": [TOOL], "expected": [CALL]},
            id="the last turn's calls",
        ),
        pytest.param(
            "tool_call",
            ASKED | {"tools": [TOOL], "expected": [CALL]},
            ASKED | {"tools": [TOOL], "expected": [CALL]},
            id="calls of its own",
        ),
        pytest.param(
            "tool_call",
            ASKED | {"tools": [TOOL], "expected": []},
            ASKED | {"tools": [TOOL], "expected": []},
            id="nothing to call",
        ),
        pytest.param(
            "perplexity", {"messages": [USER, ANSWER]}, {"messages": [USER, ANSWER]}, id="perplexity"
        ),
        pytest.param("perplexity", {"text": "A B"}, {"text": "A B"}, id="of a text"),
    ],
)
def test_what_the_stage_is_given(questions, metric, row, question):
    assert questions(metric, row) == [{"at": "faq.jsonl:1", **question}]


def test_only_the_first_rows_are_asked(questions):
    assert len(questions("exact_match", *[{"messages": [USER, ANSWER]}] * 5, limit=2)) == 2


@pytest.mark.parametrize(
    ("metric", "row", "says"),
    [
        pytest.param("exact_match", "{", "faq.jsonl:2: not JSON", id="no JSON"),
        pytest.param("exact_match", ASKED, 'faq.jsonl:2: "expected" is missing', id="nothing expected"),
        pytest.param(
            "exact_match", ASKED | {"expected": 3}, '"expected" is a number (3), not a text', id="a number"
        ),
        pytest.param("contains", ASKED | {"expected": []}, '"expected" is empty', id="an empty list"),
        pytest.param(
            "exact_match", {"messages": [ANSWER]}, "faq.jsonl:2: nothing is asked", id="an answer alone"
        ),
        pytest.param(
            "regex",
            ASKED | {"expected": "(a"},
            'faq.jsonl:2: "expected" is no regular expression of Python\'s: missing ), unterminated',
            id="a pattern that does not compile",
        ),
        pytest.param(
            "regex", {"messages": [USER, ANSWER]}, '"expected" is missing, not a regular', id="no pattern"
        ),
        pytest.param(
            "json_schema",
            ASKED | {"expected": {"type": "objekt"}},
            "faq.jsonl:2: \"expected\" is no JSON schema: $.type: 'objekt' is not valid",
            id="a schema that is none",
        ),
        pytest.param("tool_call", ASKED | {"expected": [CALL]}, 'no "tools"', id="no tools"),
        pytest.param(
            "tool_call",
            ASKED | {"tools": [TOOL], "expected": [{"name": "weather", "arguments": "x"}]},
            "the arguments of tool call 1 of message 1 (assistant) are no JSON object",
            id="arguments that are no object",
        ),
        pytest.param(
            "perplexity", ASKED, "the last turn is not text of the assistant's", id="no answer to measure"
        ),
        pytest.param(
            "exact_match",
            ASKED | {"expected": "B", "id": 7},
            'the row has "id", which nothing uses. Delete them, or list them in the task\'s ignoreColumns',
            id="an unknown key",
        ),
        pytest.param("exact_match", {"a": 1}, "faq.jsonl:2", id="no known format"),
    ],
)
def test_what_is_refused_is_named(questions, metric, row, says):
    good = {"tools": [TOOL], "expected": [CALL]} if metric == "tool_call" else {"expected": "B"}
    good |= {"expected": {"type": "object"}} if metric == "json_schema" else {}
    good = {"messages": [USER, ANSWER]} if metric == "perplexity" else ASKED | good
    with pytest.raises(DataError) as error:
        questions(metric, good, row)
    assert error.value.message.startswith("evaluation.tasks faq: ")
    assert says in str(error.value)


def test_a_preference_pair_expects_no_one_answer(questions):
    with pytest.raises(DataError, match=r"faq\.jsonl:1: the row is a preference pair"):
        questions("exact_match", {"prompt": "A?", "chosen": "B", "rejected": "C"})


@pytest.mark.parametrize(
    ("source", "says"),
    [
        pytest.param({"path": "evaluations/no.jsonl"}, "no such dataset", id="no file"),
        pytest.param({"path": "datasets"}, "no *.jsonl", id="no such split"),
    ],
)
def test_missing_data_is_named(volume, questions, source, says):
    (volume.root / "datasets/train.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"evaluation\.tasks faq: .*") as error:
        questions("exact_match", ASKED | {"expected": "B"}, source=source)
    assert says in error.value.message.replace("\\", "")
    assert "the task's" in error.value.remedy


def test_prepare_refuses_before_it_looks_at_the_base(volume, questions, capfd):
    questions("regex", ASKED | {"expected": "B"})
    (volume.root / "evaluations/faq.jsonl").write_text(json.dumps(ASKED | {"expected": "["}) + "\n")
    assert main(["prepare", *volume.arguments]) == 3
    assert "evaluation.tasks faq: faq.jsonl:1" in capfd.readouterr().err
