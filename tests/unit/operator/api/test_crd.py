"""The CRDs: what the models say, structural, and enough by themselves for an API server."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cel
import jsonschema
import pytest
import yaml

from finetune_operator.api.crd import custom_resource_definition
from finetune_operator.api.generate import generated_files
from finetune_operator.api.resources import RESOURCES

ROOT = Path(__file__).parents[4]
CRDS = {resource.kind: custom_resource_definition(resource) for resource in RESOURCES}
SCHEMAS = {kind: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for kind, crd in CRDS.items()}
each_kind = pytest.mark.parametrize("kind", [pytest.param(kind, id=kind) for kind in CRDS])
Build = Callable[..., dict[str, Any]]


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema within a schema, with its path."""
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from nodes(field, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from nodes(schema[name], f"{path}.{name}")


def defaulted(schema: dict[str, Any], value: Any) -> Any:
    """Fill in defaults as the API server does: from the outside in, and never by making up an object."""
    if isinstance(value, dict):
        for name, field in schema.get("properties", {}).items():
            if name not in value and "default" in field:
                value[name] = copy.deepcopy(field["default"])
            if name in value:
                defaulted(field, value[name])
    if isinstance(value, list):
        for item in value:
            defaulted(schema.get("items", {}), item)
    return value


def broken_rules(schema: dict[str, Any], value: Any, old: Any = None) -> Iterator[str]:
    """Yield the messages of the CRD's rules that an object breaks; transition rules need the old one."""
    for rule in schema.get("x-kubernetes-validations", []):
        if "oldSelf" in rule["rule"] and old is None:
            continue
        if not cel.compile(rule["rule"]).execute({"self": value, "oldSelf": old}):
            yield rule["message"]
    for name, field in schema.get("properties", {}).items():
        if isinstance(value, dict) and name in value:
            yield from broken_rules(field, value[name], old and old.get(name))


@pytest.mark.parametrize("file", [pytest.param(file, id=file.name) for file in generated_files()])
def test_committed_file_is_what_the_models_say(file: Path) -> None:
    assert (ROOT / file).read_text() == generated_files()[file], "run `make generate`"


@pytest.mark.parametrize(
    "file", [pytest.param(f, id=f.name) for f in generated_files() if f.suffix == ".yaml"]
)
def test_fits_the_annotation_of_client_side_apply(file: Path) -> None:
    """kubectl keeps what was applied as JSON without spaces, and Kubernetes takes 256 KiB of annotations."""
    applied = json.dumps(yaml.safe_load((ROOT / file).read_text()), separators=(",", ":"))
    assert len(applied.encode()) < 200 * 1024


@each_kind
def test_bounds_are_whole_as_floats_too(kind: str) -> None:
    """As which the API server reads them: it refuses every value beside a maximum of 2**63 - 1."""
    bounds = [
        schema[name]
        for _, schema in nodes(SCHEMAS[kind])
        for name in ("maximum", "minimum")
        if name in schema
    ]
    assert [bound for bound in bounds if abs(bound) > 2**53] == []


@each_kind
def test_is_structural(kind: str) -> None:
    forbidden = {"$ref", "$defs", "title", "const", "oneOf", "allOf", "not", "uniqueItems", "definitions"}
    for path, schema in nodes(SCHEMAS[kind]):
        assert not forbidden & schema.keys(), path
        free = schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
        assert "type" in schema or free, path
        assert "anyOf" not in schema or schema["x-kubernetes-int-or-string"], path
        assert not ("properties" in schema and "additionalProperties" in schema), path
        for exclusive in ("exclusiveMinimum", "exclusiveMaximum"):
            assert isinstance(schema.get(exclusive, True), bool), path


@each_kind
def test_bounds_what_rules_read(kind: str) -> None:
    """CEL's cost is estimated from maxLength and maxItems: https://kep.k8s.io/2876."""
    for path, schema in nodes(SCHEMAS[kind]["properties"]["spec"], "spec"):
        if schema.get("type") == "array":
            assert "maxItems" in schema, path
        if schema.get("type") == "string":
            assert "maxLength" in schema or "enum" in schema, path
        if isinstance(schema.get("additionalProperties"), dict):
            assert "maxProperties" in schema, path


@each_kind
def test_describes_every_field_of_the_spec(kind: str) -> None:
    for path, schema in nodes(SCHEMAS[kind]["properties"]["spec"], "spec"):
        for name, field in schema.get("properties", {}).items():
            assert field.get("description"), f"{path}.{name}"


@each_kind
def test_blames_fields_that_are_there(kind: str) -> None:
    for path, schema in nodes(SCHEMAS[kind]):
        for rule in schema.get("x-kubernetes-validations", []):
            blamed = schema
            for part in rule.get("fieldPath", "").split(".")[1:]:
                assert part in blamed["properties"], (path, rule)
                blamed = blamed["properties"][part]
            assert len(rule["message"]) <= 2048
            assert "\n" not in rule["message"]


@each_kind
def test_defaults_are_whole_and_obey_the_rules(kind: str) -> None:
    """The API server refuses a CRD whose default is not valid as it stands."""
    for path, schema in nodes(SCHEMAS[kind]):
        if "default" in schema:
            assert defaulted(schema, copy.deepcopy(schema["default"])) == schema["default"], path
            jsonschema.Draft4Validator(schema).validate(schema["default"])
            assert list(broken_rules(schema, schema["default"])) == [], path


def test_serves_both_kinds_under_the_group() -> None:
    names = {kind: crd["spec"]["names"] for kind, crd in CRDS.items()}
    assert {kind: name["shortNames"] for kind, name in names.items()} == {
        "FineTuneJob": ["ftj"],
        "ModelDeployment": ["mdep"],
    }
    assert all(name["categories"] == ["finetune"] for name in names.values())
    assert all(crd["spec"]["scope"] == "Namespaced" for crd in CRDS.values())
    assert all("status" in crd["spec"]["versions"][0]["subresources"] for crd in CRDS.values())


def test_accepts_the_smallest_manifests_by_its_own_defaults(job: Build, deployment: Build) -> None:
    for manifest in (job(), deployment()):
        schema = SCHEMAS[manifest["kind"]]
        assert list(broken_rules(schema, defaulted(schema, manifest))) == []


def test_and_the_models_fill_in_the_same_defaults(job: Build, deployment: Build) -> None:
    for resource, manifest in zip(RESOURCES, (job(deployment={}), deployment()), strict=True):
        model = resource.model.model_validate(manifest).to_dict()
        assert defaulted(SCHEMAS[resource.kind], manifest)["spec"] == model["spec"]


STARTED = {"startTime": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("status", "change", "broken"),
    [
        pytest.param(STARTED, {"training": {"steps": 20}}, ["training"], id="training"),
        pytest.param(
            STARTED, {"training": {"steps": 10, "overrides": {"a.b": 1}}}, ["training"], id="overrides"
        ),
        pytest.param(STARTED, {"model": {"uri": "models/other"}}, ["model"], id="model"),
        pytest.param(STARTED, {"export": {"dtype": "float8"}}, ["export"], id="export"),
        pytest.param(STARTED, {"workers": {"nodes": 2}}, ["nodes"], id="nodes"),
        pytest.param(STARTED, {"workers": {"processesPerNode": 1}}, ["processesPerNode"], id="processes"),
        pytest.param(STARTED, {"export": {"push": {"uri": "s3://bucket/model"}}}, [], id="push"),
        pytest.param(STARTED, {"export": {"shards": 4}}, [], id="shards"),
        pytest.param(STARTED, {"model": {"uri": "models/tiny"}, "workers": {"ipcLock": True}}, [], id="pods"),
        pytest.param(STARTED, {"storage": {"claimName": "other"}}, ["storage"], id="storage"),
        pytest.param(STARTED, {"scheduling": {"suspend": True}}, [], id="suspend"),
        pytest.param(STARTED, {"ttlSecondsAfterFinished": 60}, [], id="ttl"),
        pytest.param(STARTED, {"failurePolicy": {"maxRestarts": 9}}, [], id="restarts"),
        pytest.param(STARTED, {"deployment": {"replicas": 3}}, [], id="deployment"),
        pytest.param({}, {"training": {"steps": 20}}, [], id="not-started"),
        pytest.param(None, {"training": {"steps": 20}}, [], id="without-a-status"),
    ],
)
def test_what_trains_is_fixed_once_started(
    job: Build, status: dict[str, Any] | None, change: dict[str, Any], broken: list[str]
) -> None:
    schema = SCHEMAS["FineTuneJob"]
    state = {} if status is None else {"status": status}
    old, new = (defaulted(schema, {**job(**spec), **state}) for spec in ({}, change))
    messages = list(broken_rules(schema, new, old))
    assert [message.split()[0] for message in messages] == broken


@each_kind
def test_nothing_is_empty_that_the_api_server_would_not_store(kind: str) -> None:
    """Who compares what is stored with the file, as Argo CD does, would find a difference for ever."""
    assert not [path for path, schema in nodes(SCHEMAS[kind]) if schema.get("properties") == {}]
