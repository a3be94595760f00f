"""The inline ModelDeployment."""

from finetune_operator.api import API_VERSION
from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.objects import Manifest
from finetune_operator.finetune.children.names import child_metadata


def desired_model_deployment(job: FineTuneJob) -> Manifest | None:
    """Return the deployment of this job's model, by the job's own name; it waits until there is a model."""
    if job.spec.deployment is None:
        return None
    spec = job.spec.deployment.to_dict()
    if job.spec.deployment.autoscaling:
        spec.pop("replicas", None)  # its autoscaler's
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelDeployment",
        "metadata": child_metadata(job, job.metadata.name, "serve"),
        "spec": {**spec, "model": {"fineTuneJobRef": {"name": job.metadata.name}}},
    }
