"""A volume for what pods compile, which outlives them."""

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import ObjectName


class CacheSpec(ApiModel):
    """A volume for what pods compile at their first start."""

    claim_name: ObjectName
    """A PersistentVolumeClaim in the same namespace, which pods write to: one of their own, or the model's.
    With several pods at a time it is ReadWriteMany. Whoever writes there has code run by all of them."""
