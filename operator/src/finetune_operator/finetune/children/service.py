"""The headless Service that gives the training pods their names."""

from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.labels import RUN, selector_labels
from finetune_operator.core.objects import Manifest
from finetune_operator.finetune.children.names import Names, child_metadata
from finetune_operator.finetune.progress import PROGRESS_PORT
from finetune_operator.finetune.rendezvous import RENDEZVOUS_PORT
from finetune_operator.finetune.stages import Stage


def desired_service(job: FineTuneJob, names: Names) -> Manifest:
    """Return the Service. Names must resolve before pods are ready: they become ready by meeting."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": child_metadata(job, names.service, Stage.TRAIN, names.run),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {**selector_labels(names.parent, Stage.TRAIN), RUN: names.run},
            "ports": [
                {"name": "rendezvous", "port": RENDEZVOUS_PORT, "protocol": "TCP"},
                {"name": "progress", "port": PROGRESS_PORT, "protocol": "TCP"},
            ],
        },
    }
