"""Jobs that a job starts from: on one machine nobody else brings them, so that none is waited for in vain."""

from collections.abc import Collection, Sequence

from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.observed.parent import ObservedParent, observe_parent
from finetune_operator.local.errors import LocalError
from finetune_operator.local.store import Store


def check_named_jobs(manifests: Sequence[Manifest], running: Collection[Ref], store: Store) -> None:
    """Raise LocalError for a job that starts from one which neither runs here, nor will, nor is trained.

    A deployment may be submitted before the job that it serves.
    """
    going_on = {*running, *map(Ref.of, manifests)}
    for job in (manifest for manifest in manifests if manifest["kind"] == "FineTuneJob"):
        for ref in sorted(observe_parent(job).named_jobs - going_on):
            there = store.observed.get(ref, ObservedParent)
            if there is None or "adapterPath" not in there.status:
                standing = "has trained no adapter" if there else "is not there"
                raise LocalError(
                    f"FineTuneJob {job['metadata']['name']}: lora.from: FineTuneJob {ref.name} {standing}",
                    f"run both together, or {ref.name} first",
                )
