"""What this machine has, against what manifests ask for: said before anything is started."""

from collections.abc import Iterable
from pathlib import Path

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.objects import Manifest
from finetune_operator.local.errors import LocalError


def gpus_here() -> int:
    """Return the number of NVIDIA GPUs of this machine."""
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def check_capacity(manifests: Iterable[Manifest], available: int | None = None) -> None:
    """Raise LocalError for the first manifest that asks for more GPUs than there are."""
    available = gpus_here() if available is None else available
    for manifest in manifests:
        field, device, asked = _gpus_asked(manifest)
        if asked > available:
            name = f"{manifest['kind']} {manifest['metadata']['name']}"
            raise LocalError(
                f"{name}: {field} asks for {asked} GPUs, and this machine has {available}",
                f"apply it to a cluster, or for a model of debug size remove it and set {device} to cpu",
            )


def _gpus_asked(manifest: Manifest) -> tuple[str, str, int]:
    """Return the field of the GPUs, the field of the device, and the GPUs that the pods want at once."""
    if manifest["kind"] == "FineTuneJob":
        workers = FineTuneJob.model_validate(manifest).spec.workers
        return "spec.workers.gpusPerNode", "spec.workers.device", workers.nodes * workers.gpus
    model_deployment = ModelDeployment.model_validate(manifest).spec
    return "spec.gpus", "spec.device", model_deployment.replicas * model_deployment.gpus_per_replica
