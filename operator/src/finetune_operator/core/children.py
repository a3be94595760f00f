"""Which of the wanted children must be applied."""

from collections.abc import Iterable, Mapping

from finetune_operator.core.digest import spec_hash_of, with_spec_hash
from finetune_operator.core.objects import Manifest, Ref


def changed_children(desired: Iterable[Manifest], observed: Mapping[Ref, str]) -> tuple[Manifest, ...]:
    """Return the children that are not there, or that carry another spec hash than wanted."""
    stamped = map(with_spec_hash, desired)
    return tuple(child for child in stamped if observed.get(Ref.of(child)) != spec_hash_of(child))
