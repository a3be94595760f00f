"""What every model of the API has in common."""

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationInfo, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError

from finetune_operator.api.rules import Rule, violated

RULES_OBEYED = {"rules": "obeyed"}
"""The validation context of an object that is known to obey its rules: evaluating them takes milliseconds."""


class ApiModel(BaseModel):
    """snake_case in Python, camelCase in YAML; unknown fields and wrong types are errors.

    Strict, as the API server is: `steps: "200"` is no integer. An attribute's docstring, and its default, are
    its description in the CRD, and `rules` are its cross-field rules in CEL.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        strict=True,
        frozen=True,
        # JSON, and so the API server, knows neither NaN nor infinity.
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        # What is written has every field, and the run contract's schema says so.
        json_schema_serialization_defaults_required=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def model_validate(cls, obj: Any, **settings: Any) -> Self:
        """Read an object as it stands in YAML: by the names there alone, as the API server does.

        Python's names are for Python: `learning_rate` in a manifest would take effect on this machine only.
        """
        return super().model_validate(obj, **settings, by_alias=True, by_name=False)

    @model_validator(mode="before")
    @classmethod
    def drop_nulls(cls, data: Any) -> Any:
        """Take a null field for one that was not written, as the API server's defaulting does."""
        if not isinstance(data, dict):
            return data
        return {name: value for name, value in data.items() if value is not None}

    @model_validator(mode="after")
    def obey_rules(self, info: ValidationInfo) -> Self:
        """Refuse an object that breaks one of its rules; all those it breaks are in the error's context."""
        if info.context == RULES_OBEYED:
            return self
        if self.rules and (broken := tuple(violated(self.rules, self.to_dict()))):
            raise PydanticCustomError("rules", "{problems}", {"problems": str(broken), "broken": broken})
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the schema with the rules in it, the defaults that they read, and those that people read."""
        json_schema = handler(schema)
        target = handler.resolve_ref_schema(json_schema)
        for field in target.get("properties", {}).values():
            if "description" in field and (written := _as_written(field.get("default"))):
                field["description"] += f" Default: {written}."
        for name, default in cls._default_objects().items():
            target["properties"][name]["default"] = default
        if entries := [rule.to_crd() for rule in cls.rules if rule.in_schema]:
            target["x-kubernetes-validations"] = entries
        return json_schema

    @classmethod
    def _default_objects(cls) -> dict[str, dict[str, Any]]:
        """Return the objects that stand in for fields left out, which pydantic's schema does not show.

        In full: the API server fills in no field of an object that is not there, a rule that reads one ends
        in "no such key", and a default must itself obey the rules.
        """
        factories = {f.alias or name: f.default_factory for name, f in cls.model_fields.items()}
        return {
            alias: factory().to_dict()
            for alias, factory in factories.items()
            if isinstance(factory, type) and issubclass(factory, ApiModel)
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the object as it stands in YAML: camelCase, defaults included, nothing that is unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _as_written(default: Any) -> str:
    """Return a default as it stands in YAML; nothing of one that is empty, or that other fields decide."""
    match default:
        case None | [] | {} | "":
            return ""
        case bool():
            return str(default).lower()
        case float():
            return f"{default:g}"
        case list():
            return f"[{', '.join(map(str, default))}]"
        case _:
            return str(default)
