"""Finds objects by name in a storage folder."""

from finetune_operator.core.objects import Manifest
from finetune_operator.local.clock import Clock
from finetune_operator.local.errors import LocalError
from finetune_operator.local.layout import Layout
from finetune_operator.local.store import Store

KINDS = ("FineTuneJob", "ModelDeployment")


def find_parents(layout: Layout, namespace: str, name: str, kinds: tuple[str, ...] = KINDS) -> list[Manifest]:
    """Return the objects of that name. Raises LocalError, naming those that are there, when there is none."""
    store = Store(layout.objects, Clock())
    there = [manifest for kind in kinds for manifest in store.of_kind(kind)]
    found = [m for m in there if (m["metadata"]["namespace"], m["metadata"]["name"]) == (namespace, name)]
    if found:
        return found
    names = sorted({f"{m['metadata']['namespace']}/{m['metadata']['name']}" for m in there})
    known = f"there are: {', '.join(names)}" if names else "nothing was run there yet"
    raise LocalError(
        f"there is no {' or '.join(kinds)} {namespace}/{name} in {layout.storage}",
        f"{known}; --storage and --namespace choose another place",
    )
