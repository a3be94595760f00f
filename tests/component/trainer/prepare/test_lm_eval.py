"""A task of lm-eval, read before anything is trained: what lm-eval is given, and what is refused."""

import json

import pytest

from finetune_trainer.contract.failure import ConfigurationError, DataError
from finetune_trainer.contract.run_data import DataSource, LmEval
from finetune_trainer.prepare.lm_eval import lm_eval_question

ROW = json.dumps({"question": "A?", "choices": ["B", "C"], "answer": 0})
DATA = {"data/quiz.jsonl": ROW}
TASK = """
task: quiz
dataset_path: json
dataset_kwargs: {data_files: {test: data/quiz.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: choices
doc_to_target: answer
"""
CONFIG = {
    "task": "quiz",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "data/quiz.jsonl"}},
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}",
    "doc_to_choice": "choices",
    "doc_to_target": "answer",
}


@pytest.fixture
def ask(tmp_path):
    """A function that writes a task's folder and has it read."""

    def ask(files, *, metric="acc", task="quiz", uri="evaluations/quiz", path="evaluations/quiz"):
        for name, content in files.items():
            file = tmp_path / "evaluations/quiz" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        of_rows = {"format": "auto", "train": "all", "thoughts": "template", "ignore_columns": ()}
        source = DataSource(uri=uri, path=path, revision=None, share=None, split="test", **of_rows)
        asked = LmEval(task=task, metric=metric, num_fewshot=None, apply_chat_template=False)
        return lm_eval_question(asked, source, tmp_path, "evaluation.tasks quiz")

    return ask


def test_a_task_of_one_s_own_is_handed_on_as_data(ask):
    question = ask({"quiz.yaml": TASK, **DATA})
    assert question | {"files": list(question["files"])} == {
        "at": "evaluations/quiz/quiz.yaml",
        "task": CONFIG,
        "data": "evaluations/quiz",
        "files": ["data/quiz.jsonl"],
    }


def test_what_a_task_includes_is_in_it(ask):
    rest = TASK.replace("task: quiz", "")
    question = ask({"quiz.yaml": "task: quiz\ninclude: rest.yaml\n", "rest.yaml": rest, **DATA})
    assert question["task"] == CONFIG


def test_of_lm_eval_s_own_the_data_alone_are_there(ask):
    question = ask(DATA, task="mmlu")
    assert (question["task"], question["at"]) == ("mmlu", "evaluations/quiz")


def test_the_hub_s_data_are_fetched_with_what_says_which_are_which(ask, hub, tmp_path):
    files = {"README.md": b"configs", "a/test.jsonl": b"{}", "mmlu.py": b"code", "data.pkl": b"pickle"}
    hub.add("datasets/acme/mmlu", files)
    path = "datasets/acme--mmlu@main"
    assert ask({}, task="mmlu", uri="hf://acme/mmlu", path=path)["data"] == path
    fetched = {str(file.relative_to(tmp_path / path)) for file in (tmp_path / path).rglob("*.*")}
    assert {"README.md", "a/test.jsonl"} <= fetched
    assert not {"mmlu.py", "data.pkl"} & fetched


def test_a_part_of_a_repository_is_refused_and_not_taken_for_all_of_it(ask):
    with pytest.raises(ConfigurationError, match="hf://acme/mmlu/test names a file; give the repository"):
        ask({}, task="mmlu", uri="hf://acme/mmlu/test", path="datasets/acme--mmlu@main")


@pytest.mark.parametrize(
    ("changed", "metric", "says"),
    [
        pytest.param(
            ("doc_to_choice: choices", "doc_to_choice: !function code.f"),
            "acc",
            "!function code.f is Python code, which is not run",
            id="a function",
        ),
        pytest.param(
            ("test_split", "class: Own\ntest_split"), "acc", "quiz.yaml: class: is not taken", id="a class"
        ),
        pytest.param(
            ("test_split", "custom_dataset: x\ntest_split"),
            "acc",
            "custom_dataset: is not taken",
            id="a dataset by code",
        ),
        pytest.param(
            ("data/quiz.jsonl", "/etc/passwd"), "acc", "no such file of the task's folder", id="elsewhere"
        ),
        pytest.param(
            ("data/quiz.jsonl", "../../secret"), "acc", "no such file of the task's folder", id="above"
        ),
        pytest.param(
            ("data/quiz.jsonl", "data/no.jsonl"), "acc", "no.jsonl: no such file", id="data missing"
        ),
        pytest.param(
            ("dataset_path: json", "dataset_path: pandas"),
            "acc",
            "dataset_kwargs: is for dataset_path json, csv, parquet, arrow, text, not for pandas",
            id="a builder that reads pickles",
        ),
        pytest.param(
            ("test: data/quiz.jsonl}", "test: data/quiz.jsonl}, trust_remote_code: true"),
            "acc",
            "data_files alone are taken",
            id="remote code",
        ),
        pytest.param(
            ("quiz", "quiz"), "f1", "the task has no metric f1; it has acc, acc_norm", id="no such metric"
        ),
        pytest.param(
            ("test_split", "metric_list: [{metric: exact_match}]\ntest_split"),
            "acc",
            "the task has no metric acc; it has exact_match",
            id="not in its list",
        ),
        pytest.param(
            ("test_split", "metric_list: [{metric: x/y, hf_evaluate: true}]\ntest_split"),
            "acc",
            "not one of lm-eval's own metrics",
            id="a metric by code",
        ),
        pytest.param(
            ("task: quiz", "task: quiz\ninclude: ../../other.yaml"),
            "acc",
            "is included by",
            id="includes from elsewhere",
        ),
        pytest.param(("task: quiz", "task: quiz\ngroup: [x"), "acc", "quiz.yaml: is no YAML", id="no YAML"),
        pytest.param(
            ("task: quiz", "task: quiz\nx: !!python/object/apply:os.system [ls]"),
            "acc",
            "quiz.yaml: is no YAML",
            id="an object of Python's",
        ),
    ],
)
def test_what_is_refused_is_named(ask, changed, metric, says):
    with pytest.raises(DataError) as error:
        ask({"quiz.yaml": TASK.replace(*changed), **DATA}, metric=metric)
    assert says in error.value.message


def test_data_that_are_missing_are_named(ask):
    with pytest.raises(DataError, match="evaluations/quiz: no such folder"):
        ask({}, task="mmlu")
    with pytest.raises(DataError, match="there are no data of the task"):
        ask({"README": "nothing"}, task="mmlu")
