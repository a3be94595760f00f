"""The tasks of an evaluation: their rows, read and checked before anything is trained.

What the stage in the server's image gets is a file a task, a question a line (contract/README.md).
"""

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from finetune_trainer.contract.failure import DataError
from finetune_trainer.contract.run_data import Task
from finetune_trainer.contract.run_file import RunFile, RunFolders
from finetune_trainer.contract.whole_file import write_text
from finetune_trainer.data.conversation import Turn
from finetune_trainer.data.fields import Fields, described
from finetune_trainer.data.formats import PAIRS, TEXT, Reading, read_messages, recognise
from finetune_trainer.data.messages import read_turns
from finetune_trainer.data.row import Line
from finetune_trainer.data.tokenize import read_rows_of
from finetune_trainer.prepare.lm_eval import lm_eval_question
from finetune_trainer.prepare.sources import fetch_source

logger = logging.getLogger(__name__)

EXPECTED = "expected"
Question = dict[str, Any]


def prepare_evaluation(run: RunFile, folders: RunFolders) -> None:
    """Write every task's questions into the run's folder. Raises DataError naming the task, file and line."""
    for task in run.evaluation.tasks if run.evaluation else ():
        try:
            questions = list(_questions(task, folders.root))
        except DataError as error:
            remedy = error.remedy.replace("dataset.", "the task's ")
            raise DataError(f"evaluation.tasks {task.name}: {error.message}", remedy=remedy) from error
        lines = (json.dumps(question, ensure_ascii=False) + "\n" for question in questions)
        write_text(folders.questions(task.name), "".join(lines))
        logger.info("evaluation.tasks %s: %s questions", task.name, f"{len(questions):,}")


def _questions(task: Task, root: Path) -> Iterator[Question]:
    if task.lm_eval:
        yield lm_eval_question(task.lm_eval, task.source, root, f"evaluation.tasks {task.name}")
        return
    files = fetch_source(task.source, root, f"evaluation.tasks {task.name}").files
    reading = Reading(format=task.source.format, ignored=task.source.ignore_columns)
    rows = read_rows_of(files, reading)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{', '.join(files)}: there are no rows", remedy="Add some, or remove the task")
    if reading.format == "auto":
        reading = replace(reading, format=recognise(_without_expected(first), reading.ignored))
    if reading.format == PAIRS:
        raise first.error(
            "the row is a preference pair (chosen and rejected): which answer is expected is not said",
            'Give each row "messages" and "expected", or list both in dataset.ignoreColumns',
        )
    for line in islice(chain([first], rows), task.limit):
        yield {"at": line.place, **_question(task, line, reading)}


def _question(task: Task, line: Line, reading: Reading) -> Question:
    expected, line = line.row.get(EXPECTED), _without_expected(line)
    if reading.format == TEXT:
        return _text(task, line, reading)
    turns, tools = read_messages(line, reading)
    answer = turns[-1] if turns[-1].role == "assistant" else None
    asked = [turn.message for turn in turns]
    if task.metric == "perplexity":
        if answer is None or not answer.message.get("content"):
            raise line.error(
                "the last turn is not text of the assistant's, whose perplexity could be measured"
            )
        return {"messages": asked}
    asked = asked[:-1] if answer else asked
    if not asked or asked[-1]["role"] == "assistant":
        raise line.error("nothing is asked: no turn of the user's, or of a tool, is before the answer")
    question: Question = {"messages": asked, **({"tools": list(tools)} if tools else {})}
    return question | {EXPECTED: _EXPECTED[task.metric](line, question, expected, answer)}


def _text(task: Task, line: Line, reading: Reading) -> Question:
    if task.metric != "perplexity":
        raise line.error(f"text asks nothing that {task.metric} could compare an answer with")
    fields = Fields(line, line.row, "the row", reading.ignored)
    text = fields.take_text("text")
    fields.finish()
    if text is None or not text.strip():
        raise line.error('no "text"')
    return {"text": text}


def _without_expected(line: Line) -> Line:
    return replace(line, row={key: value for key, value in line.row.items() if key != EXPECTED})


def _texts(line: Line, _question: Question, expected: Any, answer: Turn | None) -> list[str]:
    """One text or several; the assistant's last turn where the row does not say."""
    if expected is None:
        expected = answer.message.get("content") if answer else None
    texts = expected if isinstance(expected, list) else [expected]
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise line.error(f'"{EXPECTED}" is {_named(expected)}, not a text or a list of texts')
    return texts


def _pattern(line: Line, _question: Question, expected: Any, _answer: Turn | None) -> str:
    if not isinstance(expected, str) or not expected:
        raise line.error(f'"{EXPECTED}" is {_named(expected)}, not a regular expression')
    try:
        re.compile(expected)
    except re.error as error:
        raise line.error(f'"{EXPECTED}" is no regular expression of Python\'s: {error}') from error
    return expected


def _schema(line: Line, _question: Question, expected: Any, _answer: Turn | None) -> Any:
    # Only a task of this metric needs it.
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for

    if not isinstance(expected, dict):
        raise line.error(f'"{EXPECTED}" is {_named(expected)}, not a JSON schema')
    try:
        validator_for(expected).check_schema(expected)
    except SchemaError as error:
        raise line.error(f'"{EXPECTED}" is no JSON schema: {error.json_path}: {error.message}') from error
    return expected


def _calls(line: Line, question: Question, expected: Any, answer: Turn | None) -> list[dict[str, Any]]:
    """Names and arguments; [] where nothing is to be called."""
    if "tools" not in question:
        raise line.error('no "tools": there is nothing to call')
    if expected is None and answer is None:
        raise line.error(f'no "{EXPECTED}", and no last turn of the assistant\'s')
    calls = answer.message.get("tool_calls", []) if answer and expected is None else expected
    if calls and expected is not None:
        (turn,) = read_turns(line, [{"role": "assistant", "tool_calls": expected}], ())
        calls = turn.message["tool_calls"]
    functions = [call["function"] for call in calls]
    return [{"name": each["name"], "arguments": json.loads(each["arguments"])} for each in functions]


_EXPECTED: Mapping[str, Callable[[Line, Question, Any, Turn | None], Any]] = {
    "exact_match": _texts,
    "contains": _texts,
    "regex": _pattern,
    "json_schema": _schema,
    "tool_call": _calls,
}


def _named(value: Any) -> str:
    return "missing" if value is None else "empty" if value in ("", [], {}) else described(value)
