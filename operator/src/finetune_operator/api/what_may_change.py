"""What may change of a job: one table, which the CRD's rules, a run's id, one machine and a guide read."""

from collections.abc import Collection, Iterator
from enum import StrEnum
from typing import Any, get_args

from finetune_operator.api.base import ApiModel
from finetune_operator.api.rules import Rule

Object = dict[str, Any]


class Change(StrEnum):
    """What another value of a field means for a job that has started."""

    ANOTHER_RUN = "another run"
    """The field decides the weights that come out: refused, and it is in the run's id."""

    CHECKED_BEFORE = "checked before"
    """Prepare has read what the field names: refused."""

    ANOTHER_PLACE = "another place"
    """The field says where the run is: refused."""

    UNTIL_TRAINED = "Trained"
    """Training reads it as it begins: refused once that is done, as the condition of this name says."""

    UNTIL_CONVERTED = "Converted"
    """The same of merging."""

    UNTIL_EVALUATED = "Evaluated"
    """The same of the evaluation."""

    FREE = "free"
    """The job goes on, and what comes next heeds it."""


# By path; a field that is not named is as what holds it.
WHAT_MAY_CHANGE = {
    "model": Change.ANOTHER_RUN,
    "model.tokenSecretRef": Change.FREE,
    "model.verify": Change.UNTIL_TRAINED,
    "flavor": Change.ANOTHER_RUN,
    "dataset": Change.ANOTHER_RUN,
    "dataset.tokenSecretRef": Change.FREE,
    "lora": Change.ANOTHER_RUN,
    "training": Change.ANOTHER_RUN,
    "tracking": Change.ANOTHER_PLACE,
    "workers": Change.FREE,
    "workers.nodes": Change.ANOTHER_RUN,
    "workers.device": Change.ANOTHER_RUN,
    "workers.gpusPerNode": Change.ANOTHER_RUN,
    "workers.processesPerNode": Change.ANOTHER_RUN,
    "workers.ports": Change.ANOTHER_PLACE,
    "stageOverrides": Change.FREE,
    "storage": Change.ANOTHER_PLACE,
    "export": Change.ANOTHER_RUN,
    "export.shards": Change.UNTIL_CONVERTED,
    "export.push": Change.FREE,
    "evaluation": Change.FREE,
    "evaluation.tasks": Change.CHECKED_BEFORE,
    "evaluation.require": Change.UNTIL_EVALUATED,
    "cache": Change.FREE,
    "scheduling": Change.FREE,
    "failurePolicy": Change.FREE,
    "ttlSecondsAfterFinished": Change.FREE,
    "deployment": Change.FREE,
}

REMEDY = "delete the job and apply it again, or give the new one another name"

_TOO_LATE = {
    Change.UNTIL_TRAINED: "once the model is trained",
    Change.UNTIL_CONVERTED: "once the adapter is merged",
    Change.UNTIL_EVALUATED: "once the model is evaluated",
}
_STARTED = "once the job has started"


def what_decides(spec: Object) -> Object:
    """Return the part of a spec that decides the run."""
    decisive: Object = {}
    for path, value in _parts(spec):
        if WHAT_MAY_CHANGE[_known(path)] is Change.ANOTHER_RUN:
            *owners, name = path.split(".")
            target = decisive
            for owner in owners:
                target = target.setdefault(owner, {})
            target[name] = value
    return decisive


def refused_changes(before: Object, after: Object, done: Collection[str] = ()) -> list[str]:
    """Return the fields that a job which has started may not change, by their paths within the spec.

    done: its conditions that are True.
    """
    old, new = dict(_parts(before)), dict(_parts(after))
    changed = (path for path in {**old, **new} if old.get(path) != new.get(path))
    return [path for path in changed if _is_refused(WHAT_MAY_CHANGE[_known(path)], done)]


def when_refused(path: str) -> str:
    """Return from when on a field of a spec cannot change, as a refusal ends."""
    return _TOO_LATE.get(WHAT_MAY_CHANGE[_known(path)], _STARTED)


def transition_rules(spec: type[ApiModel]) -> tuple[Rule, ...]:
    """Return the rules by which the API server refuses these changes to a job that has started."""
    return tuple(
        Rule(
            rule=f"{_is_early(WHAT_MAY_CHANGE[_known(path)])} || {_is_unchanged(path, optional)}",
            problem=f"{_known(path).rpartition('.')[2]} cannot change {when_refused(path)}",
            remedy=REMEDY,
            field=f"spec.{path}",
        )
        for path, optional in _fields(spec)
        if WHAT_MAY_CHANGE[_known(path)] is not Change.FREE
    )


def what_may_change_guide() -> str:
    """Return the table as a page for people."""
    answers = {path: _ANSWERS.get(change) or _HEEDED[path] for path, change in WHAT_MAY_CHANGE.items()}
    rows = "\n".join(f"| `{path}` | {answer} |" for path, answer in answers.items())
    return f"{_GUIDE}{rows}\n"


def _is_refused(change: Change, done: Collection[str]) -> bool:
    return change.value in done if change in _TOO_LATE else change is not Change.FREE


def _is_early(change: Change) -> str:
    """Return the rule's part that is true as long as a field may change."""
    if change not in _TOO_LATE:
        return "!has(oldSelf.status) || !has(oldSelf.status.startTime)"
    is_done = f"oldSelf.status.conditions.exists(c, c.type == '{change.value}' && c.status == 'True')"
    return f"!has(oldSelf.status) || !has(oldSelf.status.conditions) || !{is_done}"


_ANSWERS = {
    Change.ANOTHER_RUN: "no: it decides what is trained, and so the run",
    Change.CHECKED_BEFORE: "no: prepare has read the tasks, before anything was trained",
    Change.ANOTHER_PLACE: "no: the run is there",
    Change.UNTIL_TRAINED: "until the model is trained",
    Change.UNTIL_CONVERTED: "until the adapter is merged",
    Change.UNTIL_EVALUATED: "until the model is evaluated",
}
# Of what is free: who heeds it.
_PODS = "yes: pods that are made from then on"
_HEEDED = {
    "model.tokenSecretRef": "yes: prepare, where it has not begun or is tried again",
    "dataset.tokenSecretRef": "yes: prepare, where it has not begun or is tried again",
    "workers": _PODS,
    "stageOverrides": _PODS,
    "cache": _PODS,
    "export.push": "yes: what is pushed elsewhere, or was not, is pushed there, of a Complete job too",
    "evaluation": "yes, but for what follows: the evaluation, where it has not begun or is tried again",
    "scheduling": "yes: `suspend` and a deadline that has passed at once, the others Jobs that are made from "
    "then on",
    "failurePolicy": "yes, at once",
    "ttlSecondsAfterFinished": "yes, at once",
    "deployment": "yes, at once",
}
_GUIDE = """<!-- Generated from operator/src/finetune_operator/api/what_may_change.py by `make generate`. -->
# What may change of a FineTuneJob

Until a job has started (`status.startTime`), everything may. After that this table holds, on a cluster and on
one machine; a field that is not in it is as the field that holds it. A refusal names the field.
To train with another value, give the job another name, or `finetune delete` it and apply it again:
what it made in the volume stays.

A Job that waits, none of whose pods has begun, is made again with what was changed. One that has begun goes
on as it began. Of `model.verify`, `export.shards`, `evaluation.require` and `export.push` the job's
conditions say so; and an attempt that had read one of these and failed is tried again by itself when that one
changes.

| field of `spec` | may it change once the job has started? |
|---|---|
"""


def _known(path: str) -> str:
    """Return the longest path of the table that a path is, or is below."""
    while path not in WHAT_MAY_CHANGE:
        path = path.rpartition(".")[0]
    return path


def _is_divided(path: str) -> bool:
    return any(known.startswith(f"{path}.") for known in WHAT_MAY_CHANGE)


def _parts(spec: Object, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a spec, each under the path at which the table tells it from others."""
    for name, value in spec.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict) and _is_divided(path):
            yield from _parts(value, f"{path}.")
        else:
            yield path, value


def _fields(model: type[ApiModel], prefix: str = "", owner: str = "") -> Iterator[tuple[str, str]]:
    """Yield the paths at which the table tells fields from others, and what of each may be absent.

    owner: an object that may be absent, and the field with it.
    """
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        absent = path if not field.is_required() and field.default is None else ""
        below = next(
            (each for each in get_args(field.annotation) if each is not type(None)), field.annotation
        )
        if isinstance(below, type) and issubclass(below, ApiModel) and _is_divided(path):
            yield from _fields(below, f"{path}.", owner or absent)
        else:
            yield path, owner or absent


def _is_unchanged(path: str, optional: str) -> str:
    new, old = f"self.spec.{path}", f"oldSelf.spec.{path}"
    if not optional:
        return f"{new} == {old}"
    before, after = f"has(oldSelf.spec.{optional})", f"has(self.spec.{optional})"
    return f"({after} == {before} && (!{after} || {new} == {old}))"
