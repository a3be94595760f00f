"""values.yaml and values.schema.json: every value is described, and a wrong one is named."""

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from finetune_operator.core.config import Images

CHART = Path(__file__).parents[3] / "helm/finetune-operator"
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())


def with_value(path: str, value: Any) -> dict[str, Any]:
    values = deepcopy(VALUES)
    *parents, last = path.split(".")
    inner = values
    for parent in parents:
        inner = inner.setdefault(parent, {})
    inner[last] = value
    return values


def errors(values: dict[str, Any]) -> list[str]:
    found = Draft7Validator(SCHEMA).iter_errors(values)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in found]


def objects(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of an object with named fields, and its path."""
    if "properties" in schema and "type" in schema:
        yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from objects(inner, f"{path}.{name}")
    for name, inner in schema.get("definitions", {}).items():
        yield from objects(inner, name)


def test_the_schema_is_one() -> None:
    Draft7Validator.check_schema(SCHEMA)


def test_the_defaults_are_valid() -> None:
    assert errors(VALUES) == []


def test_every_value_has_a_default() -> None:
    assert set(VALUES) == set(SCHEMA["properties"]) - {"global"}


def test_every_property_is_described_and_no_other_is_taken() -> None:
    free = {".imagePullSecrets.items", ".env", ".progressFrom.items"}
    for path, schema in objects(SCHEMA):
        assert schema.get("additionalProperties") is False or path in free, path
        for name, inner in schema["properties"].items():
            assert inner.get("description"), f"{path}.{name}"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("image", "x", id="unknown value"),
        pytest.param("images.trainer.tags", "v1", id="misspelt field"),
        pytest.param("images.trainer.repository", "ghcr.io/x/trainer:v1:", id="trailing colon"),
        pytest.param("images.server.tag", "a b", id="tag with a space"),
        pytest.param("images.server.digest", "sha256:12", id="short digest"),
        pytest.param("imagePullPolicy", "Sometimes", id="pull policy"),
        pytest.param("gpuMemory", "a lot", id="no quantity"),
        pytest.param("scope", "all", id="scope"),
        pytest.param("namespaces", ["team-a"], id="namespaces with scope cluster"),
        pytest.param("crds.install", "yes", id="words for a boolean"),
        pytest.param("serviceAccount.create", False, id="no service account, and none named"),
        pytest.param("log.level", "loud", id="log level"),
        pytest.param("ports.health", 80, id="privileged port"),
        pytest.param("serviceMonitor.interval", "30", id="interval without a unit"),
        pytest.param("prometheusRule.noProgressMinutes", 0, id="no minutes"),
        pytest.param("podLabels", {"a": 1}, id="label that is no string"),
        pytest.param("resources.limit", {}, id="misspelt resources"),
        pytest.param("egress.httpsProxy", "proxy:3128", id="proxy without a scheme"),
        pytest.param("egress.caBundle.secret", "trusted", id="CA bundle of a Secret"),
    ],
)  # fmt: skip
def test_wrong_values_are_refused(path: str, value: Any) -> None:
    assert errors(with_value(path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("global", {"any": "thing"}, id="globals"),
        pytest.param("images.server.repository", "registry.example:5000/a-b/server", id="private registry"),
        pytest.param("images.server.digest", "sha256:" + "0" * 64, id="digest"),
        pytest.param("tolerations", [{"key": "node-role.kubernetes.io/control-plane"}], id="toleration"),
        pytest.param("affinity", {"nodeAffinity": {}}, id="affinity"),
        pytest.param("env", [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}], id="proxy"),
        pytest.param("resources.limits", {"cpu": 1, "memory": "1Gi"}, id="number as a quantity"),
        pytest.param("serviceMonitor.enabled", True, id="service monitor"),
        pytest.param("egress.httpsProxy", "http://user:key@proxy.example:3128", id="egress by a proxy"),
        pytest.param("egress.caBundle.configMap", "trusted", id="CA bundle"),
    ],
)  # fmt: skip
def test_right_values_are_taken(path: str, value: Any) -> None:
    assert errors(with_value(path, value)) == []


def test_a_service_monitor_needs_the_service() -> None:
    values = with_value("serviceMonitor.enabled", True)
    values["metrics"]["service"] = False
    assert errors(values) == ["metrics.service: True was expected"]


def test_namespaces_go_with_scope_namespaced() -> None:
    values = with_value("namespaces", ["team-a", "team-b"]) | {"scope": "namespaced"}
    assert errors(values) == []
    assert errors(values | {"namespaces": ["Team_A"]})


def test_a_named_service_account_may_exist_already() -> None:
    values = with_value("serviceAccount", {"create": False, "name": "own"})
    assert errors(values) == []


def test_the_images_are_those_that_the_operator_takes_by_default() -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    by_role = {role: f"{image['repository']}:{version}" for role, image in VALUES["images"].items()}
    assert by_role.pop("operator")
    assert by_role == asdict(Images())


def test_chart_and_operator_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = (CHART.parents[1] / "operator/pyproject.toml").read_text()
    assert f'version = "{chart["appVersion"]}"' in project
