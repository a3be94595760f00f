"""The deployment that a job makes of its own model."""

from collections.abc import Callable

from finetune_operator.api.job import FineTuneJob
from finetune_operator.finetune.children.model_deployment import desired_model_deployment


def test_it_leaves_replicas_to_its_autoscaler(job: Callable[..., FineTuneJob]) -> None:
    made = desired_model_deployment(job(deployment={"autoscaling": {"maxReplicas": 2}}))
    assert made is not None
    assert "replicas" not in made["spec"]
    assert made["spec"]["autoscaling"]["maxReplicas"] == 2
