"""The strings and quantities of the API, each with the sentence that explains its pattern to a user.

The patterns are read by Go's RE2 in the API server and by Rust's regex here: no look-around.
"""

import json
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainSerializer, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

_SEGMENT = r"[A-Za-z0-9_@+=,-][A-Za-z0-9._@+=,-]*"
_DNS_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
# 63 characters, as the API server counts them: the prefix before the slash has its own limit.
_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_QUALIFIED_NAME = rf"({_DNS_LABEL}(\.{_DNS_LABEL})*/)?{_NAME}"

# With *, ?, [...] and, for any number of folders, **.
_GLOB = r"[A-Za-z0-9_@+=,*?!\[\]-][A-Za-z0-9._@+=,*?!\[\]-]*"

# Of an oci:// a tag is demanded: what a job pushes must not become "latest" by being forgotten.
_HUB = r"hf://[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*"
_BUCKET_OR_REGISTRY = (
    r"s3://[a-z0-9][a-z0-9.-]*[a-z0-9](/[^\s]*)?"
    r"|oci://[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)+:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
)
URI_PATTERN = rf"^({_HUB}|{_BUCKET_OR_REGISTRY}|{_SEGMENT}(/{_SEGMENT})*)$"
DATA_URI_PATTERN = rf"^({_HUB}(/{_GLOB})*|{_BUCKET_OR_REGISTRY}|{_GLOB}(/{_GLOB})*)$"
OBJECT_NAME_PATTERN = rf"^{_DNS_LABEL}(\.{_DNS_LABEL})*$"
NAMESPACE_PATTERN = rf"^{_DNS_LABEL}$"
HOSTNAME_PATTERN = rf"^(\*\.)?{_DNS_LABEL}(\.{_DNS_LABEL})*$"
MOUNT_PATH_PATTERN = r"^(/[^:/]+)+$"
LABEL_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
SECRET_KEY_PATTERN = r"^[-._A-Za-z0-9]+$"
DEVICE_NAME_PATTERN = rf"^{_DNS_LABEL}(\.{_DNS_LABEL})*/{_NAME}$"
LABEL_VALUE_PATTERN = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
LABEL_NAME_PATTERN = rf"^{_QUALIFIED_NAME}$"
FIELD_PATH_PATTERN = (
    r"^(metadata\.(name|namespace|uid)|spec\.(nodeName|serviceAccountName)|status\.(hostIP|podIP|hostIPs|podIPs)"
    rf"|metadata\.(labels|annotations)\['{_QUALIFIED_NAME}'\])$"
)
MODULE_NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_.]*$"
REVISION_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._/-]*$"
ENV_NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_.-]*$"
QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+|[KMGTPE]i|[numkMGTPE])?$"
PERCENTAGE_PATTERN = r"^([0-9]|[1-9][0-9]|100)%$"
_BYTE = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_HEX = r"[0-9A-Fa-f]{1,4}"
# IPv6 as RFC 4291 has it (2.2, forms 1 and 2): eight groups, or fewer around one "::".
_IPV6 = "|".join(
    (
        rf"({_HEX}:){{7}}({_HEX}|:)",
        *(rf"({_HEX}:){{{before}}}(:{_HEX}){{1,{7 - before}}}" for before in range(1, 7)),
        *(rf"({_HEX}:){{{before}}}:" for before in range(1, 7)),
        rf":((:{_HEX}){{1,7}}|:)",
    )
)
IP_PATTERN = rf"^({_BYTE}(\.{_BYTE}){{3}}|{_IPV6})$"
TASK_NAME_PATTERN = r"^[a-z]([-_a-z0-9]*[a-z0-9])?$"
REQUIREMENT_PATTERN = (
    r"^([<>]= *[0-9]{1,9}(\.[0-9]{1,9})?|(no worse|better) than base( by [0-9]{1,9}(\.[0-9]{1,9})?)?)$"
)
RUN_ID_PATTERN = r"^[0-9a-f]{8}$"
SHA256_PATTERN = r"^[0-9a-f]{64}$"
HTTP_URL_PATTERN = r"^https?://[^\s/?#@]+(/[^\s?#]*)?$"

# What a user is told instead of the pattern.
EXPLANATIONS = {
    URI_PATTERN: "hf://ORG/NAME, s3://BUCKET/PREFIX, oci://HOST/REPOSITORY:TAG,"
    " or a path relative to the volume's root",
    DATA_URI_PATTERN: "hf://ORG/NAME, s3://BUCKET/KEY, or a path relative to the volume's root;"
    " a file, a folder, or a glob of them",
    OBJECT_NAME_PATTERN: "a Kubernetes object name: lower-case letters, digits, '-' and '.'",
    HOSTNAME_PATTERN: "a host name such as models.example.com, or *.example.com",
    NAMESPACE_PATTERN: "a name of lower-case letters, digits and '-'",
    MOUNT_PATH_PATTERN: "an absolute path without ':'",
    LABEL_PATTERN: "lower-case letters, digits and '-', starting with a letter and not ending with '-'",
    SECRET_KEY_PATTERN: "a key of a Secret: letters, digits, '-', '_' and '.'",
    DEVICE_NAME_PATTERN: "a resource such as nvidia.com/gpu, of at most 63 characters without its prefix",
    LABEL_VALUE_PATTERN: "a label's value: letters, digits, '-', '_' and '.'",
    LABEL_NAME_PATTERN: "a name such as acme.com/tier, of at most 63 characters without its prefix",
    FIELD_PATH_PATTERN: "a field of a pod such as spec.nodeName, status.podIP or metadata.labels['team']",
    MODULE_NAME_PATTERN: "attention, mlp, experts, or a module name such as o_proj",
    REVISION_PATTERN: "a branch, a tag or a commit",
    ENV_NAME_PATTERN: "an environment variable's name",
    QUANTITY_PATTERN: "a Kubernetes quantity such as 500Gi, 4 or 250m",
    PERCENTAGE_PATTERN: "a whole number, or a percentage such as 25%",
    IP_PATTERN: "an IP address such as 10.0.0.1 or fd00::1",
    TASK_NAME_PATTERN: "lower-case letters, digits, '-' and '_', starting with a letter",
    REQUIREMENT_PATTERN: '">= 0.9" (of a perplexity "<= 12.5"), "no worse than base by 0.01" or "better than base"',  # noqa: E501
    RUN_ID_PATTERN: "eight hexadecimal digits",
    HTTP_URL_PATTERN: "the URL of a server, such as https://mlflow.example.com, without a user or a password",
    SHA256_PATTERN: "a SHA-256 digest in lower-case hexadecimal",
}

ObjectName = Annotated[str, StringConstraints(pattern=OBJECT_NAME_PATTERN, min_length=1, max_length=253)]
ContainerName = Annotated[str, StringConstraints(pattern=NAMESPACE_PATTERN, min_length=1, max_length=63)]
NamespaceName = Annotated[str, StringConstraints(pattern=NAMESPACE_PATTERN, min_length=1, max_length=63)]
SecretKey = Annotated[str, StringConstraints(pattern=SECRET_KEY_PATTERN, min_length=1, max_length=253)]
DeviceName = Annotated[str, StringConstraints(pattern=DEVICE_NAME_PATTERN, min_length=1, max_length=316)]
LabelName = Annotated[str, StringConstraints(pattern=LABEL_NAME_PATTERN, min_length=1, max_length=316)]
ModuleName = Annotated[str, StringConstraints(pattern=MODULE_NAME_PATTERN, min_length=1, max_length=256)]
Revision = Annotated[str, StringConstraints(pattern=REVISION_PATTERN, min_length=1, max_length=255)]
EnvName = Annotated[str, StringConstraints(pattern=ENV_NAME_PATTERN, min_length=1, max_length=256)]
IpAddress = Annotated[str, StringConstraints(pattern=IP_PATTERN, min_length=2, max_length=45)]
RunId = Annotated[str, StringConstraints(pattern=RUN_ID_PATTERN)]
Sha256 = Annotated[str, StringConstraints(pattern=SHA256_PATTERN)]
ShortText = Annotated[str, StringConstraints(max_length=1024)]
LabelValue = Annotated[str, StringConstraints(pattern=LABEL_VALUE_PATTERN, max_length=63)]


def _int_or_string(pattern: str, **bounds: int) -> Any:
    """Return the type of a value that is an integer or a string of that pattern, as Kubernetes has them."""
    text = Annotated[str, StringConstraints(pattern=pattern, max_length=64)]
    schema = {
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "pattern": pattern,
        "maxLength": 64,
        "minimum": 0,
        **bounds,
        "x-kubernetes-int-or-string": True,
    }
    return Annotated[Annotated[int, Field(ge=0, le=bounds.get("maximum"))] | text, WithJsonSchema(schema)]


Quantity = _int_or_string(QUANTITY_PATTERN)
IntOrPercentage = _int_or_string(PERCENTAGE_PATTERN, maximum=2**31 - 1)


def _unique(items: list[Any]) -> list[Any]:
    """Refuse a repeated item, as the API server does for a list of type set."""
    for index, item in enumerate(items):
        if item in items[:index]:
            raise PydanticCustomError("duplicate", "{item} is there twice", {"item": item})
    return items


Unique = (AfterValidator(_unique), Field(json_schema_extra={"uniqueItems": True}))


def listed_by(*keys: str) -> tuple[Any, ...]:
    """Return what makes a list of objects one of type map, in which no two have the same keys."""

    def unique(items: list[Any]) -> list[Any]:
        seen = []
        for item in (entry.to_dict() for entry in items):
            name = [item.get(key) for key in keys]
            if name in seen:
                text = ", ".join(map(str, name))
                raise PydanticCustomError("duplicate", "{item} is there twice", {"item": text})
            seen.append(name)
        return items

    schema: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}
    return AfterValidator(unique), Field(json_schema_extra=schema)


# metav1.Time: RFC 3339 in UTC, whole seconds.
Time = Annotated[
    datetime,
    Field(strict=False),
    PlainSerializer(lambda t: t.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), when_used="json"),
]


def _json_only(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse what YAML can say and JSON cannot."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise PydanticCustomError(
            "json", "holds NaN, infinity, binary data or a set, which no JSON has"
        ) from None
    return value


# Any JSON object: Kubernetes' own schema for it is checked where the object is created.
FreeObject = Annotated[
    dict[str, Any],
    AfterValidator(_json_only),
    WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
]
