"""The PersistentVolumeClaim, where the job has none of its own."""

from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.objects import Manifest, without_empty
from finetune_operator.finetune.children.names import Names, child_metadata


def desired_claim(job: FineTuneJob, names: Names) -> Manifest | None:
    """Return the claim to be made, or None when the job names one that exists."""
    storage = job.spec.storage
    if storage.claim_name is not None:
        return None
    spec = {
        "accessModes": storage.access_modes or ["ReadWriteMany"],
        "storageClassName": storage.storage_class_name,
        "resources": {"requests": {"storage": storage.size}},
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": child_metadata(job, names.claim, "storage"),
        "spec": without_empty(spec),
    }
