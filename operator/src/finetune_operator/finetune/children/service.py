"""The headless Service that gives the training pods their names."""

from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.labels import RUN, selector_labels
from finetune_operator.core.objects import Manifest
from finetune_operator.finetune.children.names import Names, child_metadata
from finetune_operator.finetune.stages import Stage


def desired_service(job: FineTuneJob, names: Names) -> Manifest:
    """Return the Service. Names must resolve before pods are ready: they become ready by meeting."""
    ports = job.spec.workers.ports
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": child_metadata(job, names.service, Stage.TRAIN, names.run),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {**selector_labels(names.parent, Stage.TRAIN), RUN: names.run},
            "ports": [
                {"name": "rendezvous", "port": ports.rendezvous, "protocol": "TCP"},
                {"name": "progress", "port": ports.progress, "protocol": "TCP"},
            ],
        },
    }
