"""What is read of every object, whoever holds it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from sys import intern
from typing import Any, Self

from finetune_operator.core.labels import COMPONENT, INSTANCE
from finetune_operator.core.objects import Manifest, Owner, Ref
from finetune_operator.core.waiting import Wait


def wakes_nobody(default: Any) -> Any:
    """Declare a field whose change no reconcile waits for: two values that differ in it alone are equal."""
    return field(default=default, compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedObject:
    """An object as it was when it was last seen. What is news is `!=`, but for the marked fields."""

    ref: Ref
    uid: str = ""
    version: int = wakes_nobody(0)
    """metadata.resourceVersion: comparable as a number (KEP-5504)."""
    owners: tuple[Owner, ...] = ()
    instance: str = ""
    component: str = ""
    """With the instance, the labels that pods share with what made them."""
    deleting: bool = False
    delayed: Wait | None = wakes_nobody(None)
    """What it goes through just now, which is worth a word once it takes longer than it usually does."""

    @property
    def name(self) -> str:
        """The object's name."""
        return self.ref.name

    def before_it_was_there(self) -> Self | None:
        """Return what the first version is compared with: None, from which everything differs."""
        return None


def common_fields(obj: Manifest) -> dict[str, Any]:
    """Return the fields of ObservedObject."""
    metadata = obj["metadata"]
    labels = shared(metadata.get("labels", {}))
    ref = Ref.of(obj)
    return {
        "ref": ref,
        "uid": metadata.get("uid", ""),
        "version": int(metadata.get("resourceVersion", 0)),
        "owners": tuple(
            Owner(
                api_version=intern(owner["apiVersion"]),
                kind=intern(owner["kind"]),
                namespace=ref.namespace,
                name=intern(owner["name"]),
                uid=intern(owner["uid"]),
            )
            for owner in metadata.get("ownerReferences", ())
        ),
        "instance": labels.get(INSTANCE, ""),
        "component": labels.get(COMPONENT, ""),
        "deleting": "deletionTimestamp" in metadata,
    }


def shared(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels whose texts all objects share that say the same: each would hold its own otherwise."""
    return {intern(name): intern(value) for name, value in labels.items()}
