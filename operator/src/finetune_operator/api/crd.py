"""From a pydantic model to a CustomResourceDefinition with a structural schema.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from dataclasses import dataclass
from typing import Any

from pydantic_core import to_jsonable_python

from finetune_operator.api import GROUP, VERSION
from finetune_operator.api.base import ApiModel

Schema = dict[str, Any]

# What JSON Schema says and a structural schema must not; pruning takes the place of additionalProperties.
_DROPPED = {"title", "const", "$defs", "propertyNames"}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of `kubectl get`; priority 1 is shown with -o wide only."""

    name: str
    type: str
    json_path: str
    description: str = ""
    priority: int = 0

    def to_crd(self) -> Schema:
        """Return the entry of additionalPrinterColumns."""
        column = {"name": self.name, "type": self.type, "jsonPath": self.json_path}
        optional = {"description": self.description, "priority": self.priority}
        return column | {name: value for name, value in optional.items() if value}


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A kind, and how it is found and shown."""

    model: type[ApiModel]
    plural: str
    short_name: str
    columns: tuple[Column, ...]
    scalable: bool = False

    @property
    def kind(self) -> str:
        """The kind's name."""
        return self.model.__name__


def custom_resource_definition(resource: Resource) -> Schema:
    """Return the CRD as a manifest."""
    subresources: Schema = {"status": {}}
    if resource.scalable:
        subresources["scale"] = {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{resource.plural}.{GROUP}",
            "labels": {"app.kubernetes.io/part-of": "finetune-operator"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "shortNames": [resource.short_name],
                "categories": ["finetune"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": structural_schema(resource.model)},
                    "subresources": subresources,
                    "additionalPrinterColumns": [column.to_crd() for column in resource.columns],
                }
            ],
        },
    }


def structural_schema(model: type[ApiModel]) -> Schema:
    """Return the schema of a kind: no references, no unions with null, every default in place."""
    schema = model.model_json_schema(by_alias=True)
    structural = _structural(schema, schema.get("$defs", {}))
    for name in ("apiVersion", "kind"):
        structural["properties"][name] = {"type": "string"}
    structural["properties"]["metadata"] = {"type": "object"}
    structural["required"] = ["spec"]
    return structural


def _structural(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    if "$ref" in schema:
        target = definitions[schema["$ref"].rpartition("/")[2]]
        schema = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
    if not schema.get("x-kubernetes-int-or-string") and "anyOf" in schema:
        schema = _without_null(schema)
        return _structural(schema, definitions)
    result = {key: value for key, value in schema.items() if key not in _DROPPED and value is not None}
    if "const" in schema:
        result["enum"] = [schema["const"]]
    if result.get("additionalProperties") is False:
        del result["additionalProperties"]
    elif isinstance(result.get("additionalProperties"), dict):
        result["additionalProperties"] = _structural(result["additionalProperties"], definitions)
    elif result.get("additionalProperties") is True:
        del result["additionalProperties"]
        result["x-kubernetes-preserve-unknown-fields"] = True
    if result.get("properties") == {}:
        del result["properties"]  # Not stored: Argo CD found a difference for ever.
    if "properties" in result:
        result["properties"] = {
            name: _structural(field, definitions) for name, field in result["properties"].items()
        }
    if "items" in result:
        result["items"] = _structural(result["items"], definitions)
    if result.pop("uniqueItems", False):
        result["x-kubernetes-list-type"] = "set"
    return _with_openapi_bounds(result)


def _without_null(schema: Schema) -> Schema:
    """Return an optional field's schema: one that is not required needs no null."""
    (member,) = (option for option in schema["anyOf"] if option.get("type") != "null")
    rest = {key: value for key, value in schema.items() if key != "anyOf" and value is not None}
    return {**member, **rest}


def _with_openapi_bounds(schema: Schema) -> Schema:
    """Write exclusive bounds as OpenAPI 3.0 does: a bound, and a flag."""
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(schema.get(exclusive), int | float):
            schema[bound], schema[exclusive] = schema[exclusive], True
    jsonable: Schema = to_jsonable_python(schema)
    return jsonable
