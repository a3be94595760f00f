"""The volume that a job's stages share."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import ObjectName, Quantity, Unique
from finetune_operator.api.rules import Rule

AccessMode = Literal["ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"]


class StorageSpec(ApiModel):
    """A claim that exists (claimName), or one to be made (size)."""

    claim_name: ObjectName | None = None
    """A PersistentVolumeClaim in the same namespace; base models in it are shared by jobs."""

    size: Quantity | None = None
    """Size of a claim to be made, such as 500Gi. The claim is deleted with its owner."""

    storage_class_name: ObjectName | None = None
    """Storage class of the claim to be made. Default: the cluster's default class."""

    access_modes: Annotated[list[AccessMode], *Unique, Field(min_length=1, max_length=3)] | None = None
    """Access modes of the claim to be made. Default: [ReadWriteMany], which pods on several nodes need."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="has(self.claimName) != has(self.size)",
            problem="give either claimName or size, and only one of them",
            remedy="set claimName to use a claim that exists, or size to have one made",
        ),
        Rule(
            rule="!has(self.claimName) || !has(self.storageClassName)",
            problem="a claim that exists has its storage class already",
            remedy="remove it, or replace claimName by size",
            field="storageClassName",
        ),
        Rule(
            rule="!has(self.claimName) || !has(self.accessModes)",
            problem="a claim that exists has its access modes already",
            remedy="remove it, or replace claimName by size",
            field="accessModes",
        ),
        # Kubernetes' own rule of claims (validation.go, validatePersistentVolumeClaimSpec).
        Rule(
            rule="!has(self.accessModes) || !('ReadWriteOncePod' in self.accessModes)"
            " || size(self.accessModes) == 1",
            problem="ReadWriteOncePod goes with no other access mode",
            remedy="name it alone, or leave it out",
            field="accessModes",
        ),
    )
