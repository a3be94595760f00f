"""Where a token or a key comes from."""

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import ObjectName, SecretKey


class SecretKeyRef(ApiModel):
    """One key of a Secret in the object's own namespace."""

    name: ObjectName
    """The Secret's name."""

    key: SecretKey
    """The key within the Secret."""
