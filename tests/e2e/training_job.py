"""The quickstart's training alone, in pods: what faults hit, and where it stands."""

from typing import Any

import yaml
from in_cluster import TOGETHER, InCluster, quickstart
from waiting import until

TRAINS = "app.kubernetes.io/component=train"
RANK_0 = f"{TRAINS},batch.kubernetes.io/job-completion-index=0"
CHECKPOINT_INTERVAL = 10


def start(place: InCluster, *, nodes: int = 1, steps: int, restarts: int = 20) -> None:
    """Up to its adapter, by two processes; checkpoints on the way, and no wait before a restart."""
    job, _ = quickstart()
    spec = job["spec"]
    del spec["evaluation"]
    for field in ("samples", "validation", "select"):
        del spec["training"][field]
    spec["training"] |= {"steps": steps, "warmupSteps": 1, "checkpoint": {"interval": CHECKPOINT_INTERVAL}}
    spec["workers"] |= {"nodes": nodes, "processesPerNode": 2 // nodes, "podOverrides": TOGETHER}
    spec["failurePolicy"] = {"maxRestarts": restarts, "backoffSeconds": 0}
    spec["export"] = {"adapterOnly": True}
    place.apply(yaml.safe_dump(job))


def status(place: InCluster) -> dict[str, Any]:
    return dict(place.get("finetunejob", "faq").get("status", {}))


def restarts(place: InCluster) -> int:
    return int(status(place).get("restarts") or 0)


def step(place: InCluster) -> int:
    """The newest of training that the status tells of."""
    progress = status(place).get("progress") or {}
    return int(progress.get("step") or 0) if progress.get("stage") == "train" else 0


def until_it_trains(place: InCluster) -> int:
    """Until the status tells of a step beyond the one that it tells of now."""
    before = step(place)
    return int(until(f"a step of training after {before}", lambda: max(step(place) - before, 0)) + before)


def pods_that_train(place: InCluster) -> set[str]:
    """Names of those that run, and are not about to end."""
    return {
        pod["metadata"]["name"]
        for pod in place.pods(TRAINS)
        if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
    }
