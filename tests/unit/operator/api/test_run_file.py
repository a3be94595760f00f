"""The run contract: the golden files, the schema and the model say the same."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from finetune_operator.api.run_file import RunFile

ROOT = Path(__file__).parents[4]
SCHEMA = json.loads((ROOT / "contract/run.schema.json").read_text())
GOLDEN = [pytest.param(file, id=file.stem) for file in sorted((ROOT / "tests/golden/run").glob("*.json"))]


def remove(document: dict[str, Any], path: str) -> None:
    *parents, last = path.split(".")
    for part in parents:
        document = document[part]
    del document[last]


@pytest.mark.parametrize("file", GOLDEN)
def test_golden_file_comes_back_byte_for_byte(file: Path) -> None:
    document = json.loads(file.read_text())
    dumped = RunFile.model_validate(document).model_dump(mode="json", by_alias=True)
    assert json.dumps(dumped, indent=2) == json.dumps(document, indent=2)


@pytest.mark.parametrize("file", GOLDEN)
def test_golden_file_obeys_the_schema(file: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(file.read_text()))


@pytest.mark.parametrize(
    "path", ["schemaVersion", "run", "lora.rank", "training.checkpoint.keep", "export.dtype"]
)
def test_every_field_must_be_there(path: str) -> None:
    document = json.loads((ROOT / "tests/golden/run/671b.json").read_text())
    remove(document, path)
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(document)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"schemaVersion": 2}, id="another-version"),
        pytest.param({"extra": 1}, id="unknown-field"),
        pytest.param({"run": "../../etc"}, id="run-that-is-a-path"),
    ],
)
def test_model_and_schema_refuse_the_same(change: dict[str, Any]) -> None:
    document = json.loads((ROOT / "tests/golden/run/671b.json").read_text()) | change
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(document)
    with pytest.raises(ValidationError):
        RunFile.model_validate(document)


def test_the_schema_has_no_rules_of_the_spec() -> None:
    text = json.dumps(SCHEMA)
    assert "x-kubernetes-validations" not in text
    assert "oldSelf" not in text
