"""Our kinds on a real API server: schemas and rules are accepted, defaults filled in, mistakes named."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from cluster.commands import WAIT, Run

from finetune_operator.api.validation import load_manifests

ROOT = Path(__file__).parents[2]
CRDS = [pytest.param(file, id=file.stem) for file in sorted((ROOT / "crds").glob("*.yaml"))]
SIDES = [
    pytest.param(("--server-side", "--force-conflicts"), id="server-side"),
    pytest.param((), id="client-side"),
]
EXAMPLES = [pytest.param(file, id=file.stem) for file in sorted((ROOT / "examples").glob("*.yaml"))]

pytestmark = pytest.mark.usefixtures("crds")

JOB: dict[str, Any] = {
    "apiVersion": "finetune.dev/v1alpha1",
    "kind": "FineTuneJob",
    "metadata": {"name": "faq"},
    "spec": {
        "model": {"uri": "models/tiny"},
        "flavor": "tiny_lora",
        "dataset": {"uri": "datasets/faq.jsonl"},
        "training": {"steps": 10},
        "storage": {"claimName": "models"},
    },
}
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "finetune.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "faq"},
    "spec": {"model": {"fineTuneJobRef": {"name": "faq"}}},
}


def changed(manifest: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with `value` at the dotted `path`; None removes what is there."""
    copy = deepcopy(manifest)
    *parents, last = path.split(".")
    inner = copy
    for part in parents:
        inner = inner.setdefault(part, {})
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return copy


@pytest.mark.parametrize("file", CRDS)
@pytest.mark.parametrize(
    "how", [pytest.param(("--server-side",), id="server-side"), pytest.param((), id="client-side")]
)
def test_a_crd_applies_and_applies_again_without_a_change(
    kubectl: Run, file: Path, how: tuple[str, ...]
) -> None:
    kubectl("apply", *how, "--filename", str(file))
    kubectl("wait", "--for=condition=Established", WAIT, "--filename", str(file))
    (name,) = kubectl("get", "--filename", str(file), "--output=name").stdout.split()
    before = generation(kubectl, name)
    kubectl("apply", *how, "--filename", str(file))
    assert generation(kubectl, name) == before


def generation(kubectl: Run, name: str) -> str:
    return kubectl("get", name, "--output=jsonpath={.metadata.generation}").stdout


@pytest.mark.parametrize("file", CRDS)
def test_the_schema_is_structural_and_every_rule_is_within_its_budget(kubectl: Run, file: Path) -> None:
    found = json.loads(kubectl("get", "--filename", str(file), "--output=json").stdout)
    conditions = {each["type"]: each["status"] for each in found["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.parametrize(
    "field",
    [
        "finetunejob.spec.training.globalBatchSize",
        "modeldeployment.spec.rollout",
        "ftj.spec.lora.rank",
        "mdep.spec",
    ],
)
def test_explain_tells_what_a_field_is(kubectl: Run, field: str) -> None:
    assert "DESCRIPTION:\n    <empty>" not in kubectl("explain", field).stdout


@pytest.mark.parametrize("file", EXAMPLES)
@pytest.mark.parametrize(
    "how", [pytest.param(("--server-side",), id="server-side"), pytest.param((), id="client-side")]
)
def test_examples_apply_and_get_the_same_defaults_as_the_cli_gives(
    kubectl: Run, namespace: str, file: Path, how: tuple[str, ...]
) -> None:
    here = ("--namespace", namespace)
    printed = kubectl("apply", *how, *here, "--filename", str(file), "--output=json").stdout
    stored = json.loads(printed)
    objects = stored["items"] if stored["kind"] == "List" else [stored]
    expected = load_manifests([file], namespace)
    assert [each["spec"] for each in objects] == [each["spec"] for each in expected]
    kubectl("delete", *here, "--filename", str(file))


WRONG = [
    pytest.param(JOB, "spec.flavor", "7B_lora", "spec.flavor: Unsupported value", id="unknown-flavour"),
    pytest.param(JOB, "spec.training.step", 3, 'unknown field "spec.training.step"', id="misspelt-field"),
    pytest.param(JOB, "spec.training.steps", 0, "spec.training.steps", id="no-steps"),
    pytest.param(JOB, "spec.training.steps", "ten", "spec.training.steps", id="words-for-a-number"),
    pytest.param(
        JOB,
        "spec.training.epochs",
        2,
        "spec.training: Invalid value: give either steps or epochs",
        id="steps-and-epochs",
    ),
    pytest.param(
        JOB,
        "spec.training.warmupSteps",
        10,
        "spec.training.warmupSteps: Invalid value: the warm-up",
        id="long-warm-up",
    ),
    pytest.param(
        JOB,
        "spec.training.select",
        "best",
        "spec.training.select: Invalid value: nothing is held out",
        id="best-of-nothing-held-out",
    ),
    pytest.param(
        changed(JOB, "spec.dataset.validationShare", 0.05), "spec.training.select", "best", None, id="best"
    ),
    pytest.param(JOB, "spec.lora.rank", 0, "spec.lora.rank", id="rank-0"),
    pytest.param(JOB, "spec.lora.targets", ["router"], "the router is never trained", id="router"),
    pytest.param(
        JOB, "spec.lora.targets", ["wo", "wo"], "spec.lora.targets[1]: Duplicate value", id="target-twice"
    ),
    pytest.param(
        JOB,
        "spec.model.revision",
        "main",
        "spec.model.revision: Invalid value: only an hf://",
        id="revision-of-a-folder",
    ),
    pytest.param(JOB, "spec.model.uri", "../secrets", "spec.model.uri", id="path-out-of-the-volume"),
    pytest.param(JOB, "spec.training.globalBatchSize", 3, None, id="batch-of-one-process"),
    pytest.param(
        changed(JOB, "spec.workers.nodes", 4),
        "spec.training.globalBatchSize",
        6,
        "spec.training.globalBatchSize: Invalid value",
        id="odd-batch",
    ),
    pytest.param(
        JOB,
        "spec.training.parallelism.tensor",
        2,
        "spec.training.parallelism: Invalid value",
        id="more-ranks-than-processes",
    ),
    pytest.param(
        JOB,
        "spec.storage.size",
        "1Ti",
        "spec.storage: Invalid value: give either claimName or size",
        id="two-volumes",
    ),
    pytest.param(
        JOB, "spec.export.dtype", "int4", "spec.export.dtype: Unsupported value", id="unknown-dtype"
    ),
    pytest.param(JOB, "metadata.name", "Not A Name", "metadata.name", id="bad-name"),
    pytest.param(
        DEPLOYMENT, "spec.model.uri", "models/tiny", "spec.model: Invalid value: give either", id="two-models"
    ),
    pytest.param(
        DEPLOYMENT,
        "spec.gpus",
        3,
        "spec.gpus: Invalid value: gpus is not tensorParallelSize",
        id="gpus-beside-tp",
    ),
    pytest.param(DEPLOYMENT, "spec.replicas", -1, "spec.replicas", id="negative-replicas"),
    pytest.param(
        DEPLOYMENT,
        "spec.storage.claimName",
        "models",
        "spec.storage: Invalid value: the model of a FineTuneJob",
        id="volume-of-a-job",
    ),
    pytest.param(DEPLOYMENT, "spec.rollout.maxSurge", "half", "spec.rollout.maxSurge", id="no-percentage"),
]


@pytest.mark.parametrize(("manifest", "path", "value", "told"), WRONG)
def test_a_wrong_spec_is_refused_naming_the_field(
    kubectl: Run, manifest: dict[str, Any], path: str, value: Any, told: str | None
) -> None:
    wrong = changed(manifest, path, value)
    done = kubectl("create", "--dry-run=server", "--filename=-", stdin=json.dumps(wrong), check=False)
    assert done.returncode == (0 if told is None else 1), done.stderr
    assert (told or "") in done.stderr


def start(kubectl: Run, namespace: str) -> None:
    """As the operator does: the job's status says that it has started."""
    status = {"status": {"startTime": "2026-01-01T00:00:00Z", "phase": "Training"}}
    where = ("--namespace", namespace, "finetunejob/faq")
    kubectl("patch", *where, "--subresource=status", "--type=merge", "--patch", json.dumps(status))


@pytest.mark.parametrize(
    ("path", "value", "allowed"),
    [
        pytest.param("spec.training.steps", 20, False, id="training"),
        pytest.param("spec.lora.rank", 8, False, id="lora"),
        pytest.param("spec.workers.nodes", 2, False, id="nodes"),
        pytest.param("spec.scheduling.suspend", True, True, id="suspend"),
        pytest.param("spec.failurePolicy.maxRestarts", 9, True, id="restarts"),
        pytest.param("metadata.labels", {"team": "search"}, True, id="labels"),
    ],
)
def test_what_trains_cannot_change_once_the_job_has_started(
    kubectl: Run, namespace: str, path: str, value: Any, allowed: bool
) -> None:
    apply = ("apply", "--namespace", namespace, "--filename=-")
    kubectl(*apply, stdin=json.dumps(JOB))
    start(kubectl, namespace)
    done = kubectl(*apply, stdin=json.dumps(changed(JOB, path, value)), check=False)
    assert (done.returncode == 0) is allowed, done.stderr
    if not allowed:
        assert f"{path.split('.')[-2 if 'workers' not in path else -1]} cannot change once" in done.stderr


def test_spec_and_status_are_written_apart(kubectl: Run, namespace: str) -> None:
    here = ("--namespace", namespace)
    kubectl("apply", *here, "--filename=-", stdin=json.dumps(changed(JOB, "status", {"phase": "Forged"})))
    start(kubectl, namespace)
    found = json.loads(kubectl("get", *here, "finetunejob/faq", "--output=json").stdout)
    assert found["status"]["phase"] == "Training"
    assert found["metadata"]["generation"] == 1


def test_get_shows_the_columns_and_wait_sees_conditions(kubectl: Run, namespace: str) -> None:
    here = ("--namespace", namespace)
    kubectl("apply", *here, "--filename=-", stdin=json.dumps(JOB))
    condition = {"type": "Complete", "status": "True", "reason": "Finished", "message": "done"}
    condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    status = {
        "phase": "Complete",
        "progress": {"step": 9, "totalSteps": 10, "loss": 1.25},
        "conditions": [condition],
    }
    patch = json.dumps({"status": status})
    kubectl("patch", *here, "ftj/faq", "--subresource=status", "--type=merge", "--patch", patch)
    header, row = kubectl("get", *here, "ftj").stdout.splitlines()
    assert header.split() == ["NAME", "PHASE", "STEP", "OF", "LOSS", "AGE"]
    assert row.split()[:5] == ["faq", "Complete", "9", "10", "1.25"]
    kubectl("wait", *here, "ftj/faq", "--for=condition=Complete", WAIT)
    assert "ftj" not in kubectl("get", *here, "finetune").stderr  # the category


def test_a_deployment_scales(kubectl: Run, namespace: str) -> None:
    here = ("--namespace", namespace)
    kubectl("apply", *here, "--filename=-", stdin=json.dumps(DEPLOYMENT))
    kubectl("scale", *here, "mdep/faq", "--replicas=3")
    assert kubectl("get", *here, "mdep/faq", "--output=jsonpath={.spec.replicas}").stdout == "3"
