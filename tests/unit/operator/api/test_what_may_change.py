"""The one table of what may change: the CRD, the run's id and one machine answer alike."""

from collections.abc import Callable
from typing import Any, get_args

import pytest

from finetune_operator.api.job import FineTuneJob, FineTuneJobSpec
from finetune_operator.api.what_may_change import (
    WHAT_MAY_CHANGE,
    Change,
    refused_changes,
    transition_rules,
    what_decides,
)
from finetune_operator.core.run import build_run_file, run_of

Build = Callable[..., dict[str, Any]]


def spec_of(manifest: dict[str, Any]) -> FineTuneJobSpec:
    return FineTuneJob.model_validate(manifest).spec


def test_every_field_of_the_spec_is_in_the_table() -> None:
    names = {field.alias or name for name, field in FineTuneJobSpec.model_fields.items()}
    assert {path for path in WHAT_MAY_CHANGE if "." not in path} == names


def test_each_path_is_a_field() -> None:
    for path in WHAT_MAY_CHANGE:
        model: Any = FineTuneJobSpec
        for part in path.split("."):
            fields = {field.alias or name: field for name, field in model.model_fields.items()}
            assert part in fields, path
            annotation = fields[part].annotation
            model = next(iter(get_args(annotation)), annotation)


@pytest.mark.parametrize(
    ("change", "refused", "another_run"),
    [
        pytest.param({}, [], False, id="nothing"),
        pytest.param({"training": {"steps": 20}}, ["training"], True, id="training"),
        pytest.param({"model": {"uri": "models/other"}}, ["model.uri"], True, id="model"),
        pytest.param(
            {"dataset": {"uri": "datasets/faq.jsonl", "validationShare": 0.1}},
            ["dataset.validationShare"],
            True,
            id="dataset",
        ),
        pytest.param(
            {"dataset": {"uri": "datasets/faq.jsonl", "revision": None, "split": "test"}},
            ["dataset.split"],
            True,
            id="split",
        ),
        pytest.param({"workers": {"nodes": 2}}, ["workers.nodes"], True, id="nodes"),
        pytest.param(
            {"workers": {"device": "cpu", "processesPerNode": 2}},
            ["workers.device", "workers.processesPerNode"],
            True,
            id="processes",
        ),
        pytest.param({"workers": {"ipcLock": True}}, [], False, id="pods"),
        pytest.param({"storage": {"claimName": "other"}}, ["storage"], False, id="storage"),
        pytest.param({"export": {"dtype": "float8"}}, ["export.dtype"], True, id="export"),
        pytest.param(
            {"export": {"push": {"uri": "s3://bucket/model"}, "shards": 3}}, [], False, id="push and shards"
        ),
        pytest.param({"deployment": {"replicas": 2}}, [], False, id="deployment"),
        pytest.param({"scheduling": {"suspend": True}}, [], False, id="suspend"),
    ],
)
def test_a_change_that_is_refused_and_another_run(
    job: Build, change: dict[str, Any], refused: list[str], another_run: bool
) -> None:
    before, after = spec_of(job()), spec_of(job(**change))
    assert refused_changes(before.to_dict(), after.to_dict()) == refused
    assert (run_of(before) != run_of(after)) is another_run


def test_a_token_is_free_and_decides_nothing(job: Build) -> None:
    model = {"uri": "hf://a/b", "revision": "c0ffee"}
    token = {"tokenSecretRef": {"name": "hub", "key": "token"}}
    plain, opened = spec_of(job(model=model)), spec_of(job(model={**model, **token}))
    assert refused_changes(plain.to_dict(), opened.to_dict()) == []
    assert what_decides(opened.to_dict())["model"] == {**model, "layers": "all"}


def test_the_rules_are_of_the_fields_that_are_refused() -> None:
    ruled = {rule.field.removeprefix("spec.") for rule in transition_rules(FineTuneJobSpec)}
    free = {path for path, change in WHAT_MAY_CHANGE.items() if change is Change.FREE}
    assert not ruled & free
    assert {"model.uri", "flavor", "lora", "training", "storage", "workers.nodes", "export.dtype"} <= ruled


def test_the_run_file_says_the_batch_that_the_spec_left_to_the_workers(job: Build) -> None:
    workers = {"nodes": 2, "gpusPerNode": 4}
    assert build_run_file(FineTuneJob.model_validate(job(workers=workers))).training.global_batch_size == 8


def test_a_number_is_one_value_however_it_is_written(job: Build) -> None:
    """JSON has one kind of number, and who writes a manifest back may write 1 for 1.0."""
    lora = [{"lora": {"alpha": alpha}} for alpha in (64, 64.0)]
    one, other = (spec_of(job(**spec)) for spec in lora)
    assert run_of(one) == run_of(other)
    assert refused_changes(one.to_dict(), other.to_dict()) == []
