"""The evaluation of a run: what is released and what is not, and what of it is kept."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from converter_run import prepared_run
from played_vllm import write_played_vllm
from small_deepseek import load_json

from finetune_converter.evaluate.report import MARK
from finetune_converter.evaluate.stage import evaluate_run
from finetune_converter.failure import Failure, Reason
from finetune_converter.merge.stage import merge_run
from finetune_converter.verify.listing import check_listing
from finetune_converter.verify.stage import verify_run

RIGHT = {"What is 1?": "one", "What is 2?": "two"}
QUESTIONS = [
    {"at": f"numbers.jsonl:{number}", "messages": [{"role": "user", "content": asked}], "expected": [said]}
    for number, (asked, said) in enumerate(RIGHT.items(), start=1)
]
CHAT = [{"role": "user", "content": "ab"}, {"role": "assistant", "content": "cd"}]
TASKS = {
    "numbers": ("exact_match", QUESTIONS),
    "chats": ("perplexity", [{"at": "chats.jsonl:1", "messages": CHAT}]),
}
GOOD = {"answers": RIGHT, "logprob": -1.0}
POOR = {"answers": {"What is 1?": "one"}, "logprob": -2.0}


class Evaluated:
    """A run that is merged and through the gate, and a vLLM that is played."""

    def __init__(self, file: Path, run: Path, vllm: Path) -> None:
        self.file, self.run, self.vllm = file, run, vllm
        self.root = file.parent

    def play(self, base: dict[str, Any], tuned: dict[str, Any]) -> None:
        (self.vllm / "plays.json").write_text(json.dumps({"tiny-base": base, "*": tuned}))

    def require(self, **required: str) -> None:
        document = load_json(self.file)
        document["evaluation"]["require"] = required
        self.file.write_text(json.dumps(document))

    def evaluate(self, *arguments: str) -> None:
        evaluate_run(self.file, self.root, arguments)

    @property
    def starts(self) -> list[str]:
        return (self.vllm / "starts").read_text().split()


@pytest.fixture
def evaluated(
    base: Path, adapter: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Evaluated:
    vllm = write_played_vllm(tmp_path / "vllm")
    monkeypatch.setenv("PYTHONPATH", str(vllm))
    monkeypatch.setenv("FINETUNE_PROGRESS_PORT", "0")
    monkeypatch.setenv("FINETUNE_TERMINATION_LOG", str(tmp_path / "termination-log"))
    root = tmp_path / "volume"
    root.mkdir()
    file, run = prepared_run(root, base, adapter())
    document = load_json(file)
    tasks = [{"name": name, "metric": metric, "maxTokens": 8} for name, (metric, _) in TASKS.items()]
    document["evaluation"] = {"tasks": tasks, "require": {}}
    file.write_text(json.dumps(document))
    (run / "evaluation").mkdir()
    for name, (_, questions) in TASKS.items():
        lines = "".join(f"{json.dumps(question)}\n" for question in questions)
        (run / "evaluation" / f"{name}.jsonl").write_text(lines)
    (run / "report.html").write_text(f"<body>\n{MARK}\n</body>\n")
    merge_run(file, root)
    verify_run(file, root)
    assert not (run / "merged").exists(), "the gate does not release what is still to be evaluated"
    return Evaluated(file, run, vllm)


def test_what_reaches_it_is_released_and_says_how(evaluated: Evaluated, tmp_path: Path) -> None:
    evaluated.play(base=POOR, tuned=GOOD)
    evaluated.require(numbers=">= 0.9", chats="no worse than base")
    evaluated.evaluate()
    numbers = {
        "task": "numbers",
        "metric": "exact_match",
        "base": 0.5,
        "tuned": 1.0,
        "rows": 2,
        "required": ">= 0.9",
    }
    chats = {
        "task": "chats",
        "metric": "perplexity",
        "base": 7.389056,
        "tuned": 2.718282,
        "rows": 1,
        "required": "no worse than base",
    }
    assert json.loads((tmp_path / "termination-log").read_text()) == {"evaluation": [numbers, chats]}
    merged = evaluated.run / "merged"
    assert load_json(merged / "MANIFEST.json")["lineage"]["evaluation"] == [numbers, chats]
    card = (merged / "README.md").read_text()
    assert "| evaluation numbers | exact_match 1, the base's 0.5, of 2 rows; required >= 0.9 |" in card
    check_listing(merged)
    page = (evaluated.run / "report.html").read_text()
    assert "<td>numbers</td><td>exact_match</td><td>2</td><td>0.5</td><td>1</td><td>&gt;= 0.9</td>" in page
    answers = (evaluated.run / "evaluation/numbers.base.jsonl").read_text().splitlines()[1:]
    assert [json.loads(line) for line in answers] == [
        {"at": "numbers.jsonl:1", "answer": "one", "right": True},
        {"at": "numbers.jsonl:2", "answer": "?", "right": False},
    ]


def test_what_falls_short_is_kept_back_until_less_is_required(evaluated: Evaluated) -> None:
    evaluated.play(base=GOOD, tuned=POOR)
    evaluated.require(numbers=">= 0.9", chats="no worse than base by 5")
    with pytest.raises(Failure) as failure:
        evaluated.evaluate()
    assert failure.value.reason is Reason.EVALUATION_FAILED
    assert failure.value.message == (
        "the merged model falls short of evaluation.require: "
        "numbers: exact_match 0.5, the base's 1, required >= 0.9"
    )
    assert not (evaluated.run / "merged").exists()
    assert load_json(evaluated.run / "evaluation.json")["fallsShort"] == ["numbers"]
    evaluated.require(numbers="no worse than base by 0.5")
    evaluated.evaluate()
    assert (evaluated.run / "merged").is_dir()
    page = (evaluated.run / "report.html").read_text()
    assert (page.count("<h2>Evaluation</h2>"), page.count("falls short")) == (1, 0)
    assert sorted(evaluated.starts) == ["merging", "tiny-base"], "what was answered is not asked again"


def test_only_the_model_with_questions_left_is_loaded(evaluated: Evaluated) -> None:
    evaluated.play(base=GOOD, tuned={**GOOD, "dies": 1})
    with pytest.raises(Failure, match="vLLM ended with exit code 1"):
        evaluated.evaluate()
    evaluated.play(base=GOOD, tuned=GOOD)
    evaluated.evaluate()
    assert sorted(evaluated.starts) == ["merging", "merging", "tiny-base"]


def test_other_arguments_of_the_server_ask_again(evaluated: Evaluated) -> None:
    evaluated.play(base=GOOD, tuned=GOOD)
    evaluated.evaluate()
    evaluated.evaluate("--max-model-len", "64")
    assert len(evaluated.starts) == 4


@pytest.mark.parametrize(
    ("tuned", "reason", "says"),
    [
        pytest.param(
            {**GOOD, "dies": "torch.OutOfMemoryError: CUDA out of memory"},
            Reason.OUT_OF_MEMORY,
            "vLLM ran out of memory: torch.OutOfMemoryError",
            id="out of memory",
        ),
        pytest.param(
            {**GOOD, "dies": "ValueError: no such architecture"},
            Reason.SERVER_FAILED,
            "vLLM ended with exit code 1: ValueError: no such architecture",
            id="does not start",
        ),
        pytest.param(
            {**GOOD, "refuses": ["What is 2?"]},
            Reason.EVALUATION_INVALID,
            "evaluation.tasks numbers: numbers.jsonl:2: vLLM does not take the question: too long",
            id="a question that is too long",
        ),
    ],
)
def test_what_goes_wrong_is_named(
    evaluated: Evaluated, tuned: dict[str, Any], reason: Reason, says: str
) -> None:
    evaluated.play(base=GOOD, tuned=tuned)
    with pytest.raises(Failure) as failure:
        evaluated.evaluate()
    assert failure.value.reason is reason
    assert says in failure.value.message
    assert not (evaluated.run / "merged").exists()


def test_an_image_without_lm_eval_says_so(evaluated: Evaluated) -> None:
    """lm-eval itself is in the server's image; the chain of tests/chain/quickstart asks it."""
    evaluated.play(base=GOOD, tuned=GOOD)
    document = load_json(evaluated.file)
    settings = {"task": "quiz", "metric": "acc", "numFewshot": None, "applyChatTemplate": False}
    task = {"name": "numbers", "metric": "lm_eval", "maxTokens": 8, "limit": None, "lmEval": settings}
    document["evaluation"]["tasks"] = [task]
    evaluated.file.write_text(json.dumps(document))
    question = {"at": "quiz/quiz.yaml", "task": {"task": "quiz"}, "data": "quiz", "files": {}}
    (evaluated.run / "evaluation/numbers.jsonl").write_text(json.dumps(question) + "\n")
    with pytest.raises(Failure) as failure:
        evaluated.evaluate()
    assert failure.value.reason is Reason.EVALUATION_INVALID
    assert failure.value.message == (
        "evaluation.tasks numbers: quiz/quiz.yaml: lm-eval ended with exit code 1: "
        "ModuleNotFoundError: No module named 'lm_eval'"
    )


def test_nothing_is_asked_before_the_gate(evaluated: Evaluated) -> None:
    (evaluated.run / "verification.json").unlink()
    with pytest.raises(Failure, match=r"verification\.json: no such file"):
        evaluated.evaluate()


def test_calls_are_not_looked_for_without_a_parser(evaluated: Evaluated) -> None:
    document = load_json(evaluated.file)
    document["evaluation"]["tasks"][0]["metric"] = "tool_call"
    evaluated.file.write_text(json.dumps(document))
    with pytest.raises(Failure, match="which parser finds tool calls") as failure:
        evaluated.evaluate()
    assert "--tool-call-parser" in failure.value.remedy
