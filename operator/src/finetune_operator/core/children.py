"""Which of the wanted children must be applied."""

from collections.abc import Iterable, Mapping

from finetune_operator.core.digest import spec_hash_of, with_spec_hash
from finetune_operator.core.drift import has_drifted
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.observed.child import ObservedChild


def changed_children(
    desired: Iterable[Manifest], observed: Mapping[Ref, ObservedChild]
) -> tuple[Manifest, ...]:
    """Return the children that are not there, that are wanted otherwise, or that somebody changed."""
    stamped = map(with_spec_hash, desired)
    return tuple(child for child in stamped if not _is_as_wanted(observed.get(Ref.of(child)), child))


def _is_as_wanted(live: ObservedChild | None, child: Manifest) -> bool:
    if live is not None and child.get("immutable"):
        return True  # The API refuses every change; another version of the operator may have written it.
    return live is not None and live.spec_hash == spec_hash_of(child) and not has_drifted(live, child)
