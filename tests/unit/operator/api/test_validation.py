"""Files of manifests: read as kubectl reads them, every problem with its file and line."""

from pathlib import Path
from textwrap import dedent

import pytest

from finetune_operator.api.validation import InvalidManifestsError, load_manifests

JOB = dedent("""\
    apiVersion: finetune.dev/v1alpha1
    kind: FineTuneJob
    metadata: {name: faq}
    spec:
      model: {uri: models/tiny}
      flavor: tiny_lora
      dataset: {uri: datasets/faq.jsonl}
      storage: {claimName: shared}
    """)
GOOD = JOB + "  training: {steps: 10}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "job.yaml"


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        pytest.param("", ["{file}: holds no object; write a FineTuneJob or a ModelDeployment"], id="empty"),
        pytest.param("3", ["{file}:1: is no object; write apiVersion, kind, metadata and spec"], id="scalar"),
        pytest.param(
            "a: 1\nkind: [x]\n",
            ["{file}:2: kind: is ['x']; use one of FineTuneJob, ModelDeployment"],
            id="kind-is-a-list",
        ),
        pytest.param(
            GOOD.replace("v1alpha1", "v1"),
            ["{file}:1: apiVersion: is 'finetune.dev/v1'; use finetune.dev/v1alpha1"],
            id="version",
        ),
        pytest.param(
            JOB + "  training:\n    steps: 0\n    sed: 3\n",
            [
                "{file}:10: spec.training.steps: is 0; make it 1 or more",
                "{file}:11: spec.training.sed: is no field here; did you mean seed?",
            ],
            id="line-of-each-field",
        ),
        pytest.param(
            GOOD + "---\n" + JOB.replace("faq}", "two}"),
            ["{file}:14: spec.training: is required; add it"],
            id="second-document",
        ),
        pytest.param(
            GOOD + "---\n" + GOOD,
            ["{file}:13: metadata.name: FineTuneJob default/faq is in {file}:3 too; rename one"],
            id="object-twice",
        ),
        pytest.param(
            JOB + "  training:\n    steps: 1\n    steps: 2\n",
            ["{file}:11: is no YAML (steps is there twice); correct this line"],
            id="key-twice",
        ),
        pytest.param(
            JOB + "  training: {steps: 1:30}\n",
            ["{file}:9: spec.training.steps: is '1:30'; make it a whole number"],
            id="no-sexagesimals",
        ),
        pytest.param(
            JOB.replace("{name: faq}", "{name: faq, lables: {a: b}, labels: {a: b c}, annotations: {a: 3}}")
            + "  training: {steps: 1}\n",
            [
                "{file}:3: metadata.lables: is no field here; did you mean labels?",
                "{file}:3: metadata.labels.a: is 'b c';"
                " use a label's value: letters, digits, '-', '_' and '.'",
                "{file}:3: metadata.annotations.a: is 3; make it a string, in quotes",
            ],
            id="metadata",
        ),
        pytest.param(
            JOB + "  training: {steps: 1, overrides: {optimizer.eps: .nan}}\n",
            [
                "{file}:9: spec.training.overrides: holds NaN, infinity, binary data or a set,"
                " which no JSON has; correct overrides"
            ],
            id="no-JSON",
        ),
        pytest.param(
            GOOD.replace("name: faq", "name: y"),
            ["{file}:3: metadata.name: is True; make it a string, in quotes"],
            id="a-letter-that-is-true",
        ),
        pytest.param("a: " + "[" * 1000, ["{file}: is nested too deeply; correct the brackets"], id="nested"),
        pytest.param("a: \x01", ["{file}: is no YAML in UTF-8; correct the file"], id="control-character"),
    ],
)
def test_names_every_problem(file: Path, text: str, errors: list[str]) -> None:
    file.write_text(text)
    with pytest.raises(InvalidManifestsError) as raised:
        load_manifests([file])
    assert list(raised.value.errors) == [error.format(file=file) for error in errors]


def test_builds_no_python_objects(file: Path) -> None:
    file.write_text(GOOD + "  lora: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(InvalidManifestsError, match=r"job\.yaml:10: is no YAML"):
        load_manifests([file])


def test_says_that_a_file_is_not_there(file: Path) -> None:
    with pytest.raises(InvalidManifestsError, match="cannot be read"):
        load_manifests([file])


@pytest.mark.parametrize(
    ("written", "value"),
    [
        pytest.param("1e-4", 1e-4, id="exponent-without-a-point"),
        pytest.param("1.5E-4", 1.5e-4, id="exponent"),
        pytest.param(".5", 0.5, id="no-leading-zero"),
        pytest.param("1", 1.0, id="whole"),
    ],
)
def test_reads_numbers_as_kubectl_does(file: Path, written: str, value: float) -> None:
    file.write_text(JOB + f"  training: {{steps: 10, learningRate: {written}}}\n")
    (manifest,) = load_manifests([file])
    assert manifest["spec"]["training"]["learningRate"] == value


def test_fills_in_defaults_and_the_namespace(file: Path) -> None:
    file.write_text("---\n" + GOOD + "---\n")
    (manifest,) = load_manifests([file], namespace="ml")
    assert manifest["metadata"]["namespace"] == "ml"
    assert manifest["spec"]["lora"] == {
        "rank": 16,
        "alpha": 32.0,
        "dropout": 0.0,
        "targets": ["attention"],
        "useRslora": False,
        "dora": False,
        "rankPattern": {},
        "alphaPattern": {},
    }


def test_merges_and_takes_dates_for_strings(file: Path) -> None:
    labels = "metadata: {name: faq, labels: {day: 2026-01-01}}"
    file.write_text(GOOD.replace("metadata: {name: faq}", labels) + "  lora: {<<: {rank: 4}, rank: 8}\n")
    (manifest,) = load_manifests([file])
    assert manifest["metadata"]["labels"] == {"day": "2026-01-01"}
    assert manifest["spec"]["lora"]["rank"] == 8


def test_leaves_out_a_status(file: Path) -> None:
    """As the API server does: what `kubectl get -o yaml` wrote is no job that has started."""
    file.write_text(GOOD + "status: {startTime: 2026-01-01T00:00:00Z, ofALaterVersion: 1}\n")
    (manifest,) = load_manifests([file])
    assert "status" not in manifest
