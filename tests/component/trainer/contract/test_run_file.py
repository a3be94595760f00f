"""The run file is read strictly: both golden files, and every way to be wrong named by its field."""

import json
from pathlib import Path

import pytest

from finetune_trainer.contract.failure import ConfigurationError
from finetune_trainer.contract.run_file import RunFolders, load_run

GOLDEN = Path(__file__).parents[3] / "golden" / "run"


def write_changed(folder: Path, *keys: str, value: object = None, remove: bool = False) -> Path:
    document = json.loads((GOLDEN / "quickstart.json").read_text())
    target = document
    for key in keys[:-1]:
        target = target[key]
    if remove:
        del target[keys[-1]]
    else:
        target[keys[-1]] = value
    file = folder / "run.json"
    file.write_text(json.dumps(document))
    return file


@pytest.mark.parametrize("name", ["671b", "quickstart"])
def test_golden_files_are_read(name):
    run = load_run(GOLDEN / f"{name}.json")
    document = json.loads((GOLDEN / f"{name}.json").read_text())
    assert run.training.learning_rate == document["training"]["learningRate"]
    assert run.lora.targets == tuple(document["lora"]["targets"])
    assert dict(run.training.overrides) == document["training"]["overrides"]
    workers = document["workers"]
    assert run.workers.world_size == workers["nodes"] * workers["processesPerNode"]


def test_an_integer_is_a_number(tmp_path):
    alpha = load_run(write_changed(tmp_path, "lora", "alpha", value=32)).lora.alpha
    assert (alpha, type(alpha)) == (32.0, float)


def test_without_a_flavor_the_base_says_its_shape(tmp_path):
    assert load_run(write_changed(tmp_path, "flavor", remove=True)).flavor == "auto"


def test_folders_are_under_the_root():
    folders = RunFolders(root=Path("/volume"), paths=load_run(GOLDEN / "quickstart.json").paths)
    assert folders.base == Path("/volume/models/tiny-base")
    assert folders.checkpoints == Path("/volume/runs/default/faq/3f2a9c1b/checkpoints")
    assert folders.metrics == Path("/volume/runs/default/faq/3f2a9c1b/metrics.jsonl")


@pytest.mark.parametrize(
    ("keys", "change", "message"),
    [
        pytest.param(("extra",), {"value": 1}, "extra: unknown field", id="unknown"),
        pytest.param(("lora", "extra"), {"value": 1}, "lora.extra: unknown field", id="unknown-inside"),
        pytest.param(("name",), {"remove": True}, "name: missing", id="missing"),
        pytest.param(
            ("training", "checkpoint", "keep"),
            {"remove": True},
            "training.checkpoint.keep: missing",
            id="missing-inside",
        ),
        pytest.param(("lora", "rank"), {"value": "16"}, "lora.rank: '16' is not an integer", id="type"),
        pytest.param(
            ("lora", "rank"), {"value": True}, "lora.rank: True is not an integer", id="bool-is-no-int"
        ),
        pytest.param(("lora", "rank"), {"value": None}, "lora.rank: None is not an integer", id="null"),
        pytest.param(
            ("lora", "targets"), {"value": "mlp"}, "lora.targets: 'mlp' is not a list", id="no-list"
        ),
        pytest.param(
            ("lora", "targets"), {"value": ["mlp", 3]}, "lora.targets[1]: 3 is not a string", id="in-a-list"
        ),
        pytest.param(("training",), {"value": []}, "training: [] is not an object", id="no-object"),
        pytest.param(
            ("training", "overrides"),
            {"value": []},
            "training.overrides: [] is not an object",
            id="no-mapping",
        ),
        pytest.param(
            ("workers", "device"),
            {"value": "tpu"},
            "workers.device: 'tpu' is not one of cpu, cuda",
            id="choice",
        ),
        pytest.param(
            ("paths", "base"),
            {"value": "../models"},
            "paths.base: '../models' is not a path inside the volume",
            id="outside",
        ),
        pytest.param(
            ("paths", "run"),
            {"value": "/runs"},
            "paths.run: '/runs' is not a path inside the volume",
            id="absolute",
        ),
        pytest.param(
            ("training", "epochs"),
            {"value": 1},
            "training: set exactly one of steps and epochs",
            id="steps-and-epochs",
        ),
    ],
)
def test_a_wrong_field_is_named(tmp_path, keys, change, message):
    with pytest.raises(ConfigurationError) as caught:
        load_run(write_changed(tmp_path, *keys, **change))
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "cannot read the run file .*: No such file", id="missing"),
        pytest.param("{", "is not JSON", id="not-json"),
        pytest.param("[]", "schemaVersion is None", id="not-an-object"),
        pytest.param('{"schemaVersion": 2}', "schemaVersion is 2, this trainer reads 1", id="version"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, content, message):
    file = tmp_path / "run.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match=message):
        load_run(file)
