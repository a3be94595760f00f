"""The metadata of an object, as far as the operator reads it."""

from pydantic import ConfigDict

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import LabelName, LabelValue, NamespaceName, ObjectName

# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/
OBJECT_META = (
    "name",
    "generateName",
    "namespace",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
    "managedFields",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
)


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

    labels: dict[LabelName, LabelValue] | None = None
    """Labels, for selectors."""

    annotations: dict[str, str] | None = None
    """Annotations, for tools."""
