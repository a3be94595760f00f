"""Where a token or a key comes from."""

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import ObjectName, SecretKey


class SecretRef(ApiModel):
    """A Secret in the object's own namespace."""

    name: ObjectName
    """The Secret's name."""


class SecretKeyRef(ApiModel):
    """One key of a Secret in the object's own namespace."""

    name: ObjectName
    """The Secret's name."""

    key: SecretKey
    """The key within the Secret."""


class ConfigMapKeyRef(ApiModel):
    """One key of a ConfigMap in the object's namespace."""

    name: ObjectName
    """Name of the ConfigMap."""

    key: SecretKey
    """Key in the ConfigMap."""
