"""The metadata of an object, as far as the operator reads it."""

from typing import Any

from pydantic import ConfigDict

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import NamespaceName, ObjectName


class Metadata(ApiModel):
    """Kubernetes' ObjectMeta; what is not named here is carried along."""

    model_config = ConfigDict(**{**ApiModel.model_config, "extra": "allow"})

    name: ObjectName
    """The object's name."""

    namespace: NamespaceName = "default"
    """The object's namespace."""

    uid: str = ""
    """Set by the API server."""

    generation: int = 1
    """Counts the changes of the spec; set by the API server."""

    labels: dict[str, str] | None = None
    """Labels, for selectors."""

    annotations: dict[str, Any] | None = None
    """Annotations, for tools."""
