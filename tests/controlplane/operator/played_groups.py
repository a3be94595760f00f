"""What LeaderWorkerSet's controller does of a server's groups: pods of its templates, and their status."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from cluster.commands import Run

SET = "leaderworkerset.sigs.k8s.io"


@contextmanager
def played_groups(kubectl: Run, namespace: str) -> Iterator[None]:
    """While the block runs, each LeaderWorkerSet of the namespace has its pods, and a status by them."""
    ended = Event()
    thread = Thread(target=_play, args=(kubectl, f"--namespace={namespace}", ended))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _play(kubectl: Run, here: str, ended: Event) -> None:
    while not ended.wait(0.3):
        for each in json.loads(kubectl("get", "leaderworkersets", here, "--output=json").stdout)["items"]:
            pods = [_pod(each, group, worker) for group, worker in _places(each)]
            kubectl("apply", here, "--server-side", "--filename=-", stdin=json.dumps(_list(pods)))
            there = json.loads(
                kubectl("get", "pods", here, f"--selector={SET}/name={_name(each)}", "--output=json").stdout
            )["items"]
            status = {"status": _status(each, there)}
            name = f"leaderworkerset/{_name(each)}"
            patch = f"--patch={json.dumps(status)}"
            kubectl("patch", name, here, "--subresource=status", "--type=merge", patch, check=False)


def _name(group_set: dict[str, Any]) -> str:
    return str(group_set["metadata"]["name"])


def _places(group_set: dict[str, Any]) -> list[tuple[int, int]]:
    spec = group_set["spec"]
    size = spec["leaderWorkerTemplate"]["size"]
    return [(group, worker) for group in range(spec["replicas"]) for worker in range(size)]


def _pod(group_set: dict[str, Any], group: int, worker: int) -> dict[str, Any]:
    templates, name = group_set["spec"]["leaderWorkerTemplate"], _name(group_set)
    template = templates["workerTemplate" if worker else "leaderTemplate"]
    places = {f"{SET}/name": name, f"{SET}/group-index": str(group), f"{SET}/worker-index": str(worker)}
    owner = {key: group_set[key] for key in ("apiVersion", "kind")}
    owner |= {key: group_set["metadata"][key] for key in ("name", "uid")}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-{group}" + (f"-{worker}" if worker else ""),
            "labels": template["metadata"]["labels"] | places,
            "ownerReferences": [owner],
        },
        "spec": template["spec"],
    }


def _list(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _status(group_set: dict[str, Any], pods: list[dict[str, Any]]) -> dict[str, Any]:
    replicas, size = group_set["spec"]["replicas"], group_set["spec"]["leaderWorkerTemplate"]["size"]
    ready = [pod["metadata"]["labels"][f"{SET}/group-index"] for pod in pods if _is_ready(pod)]
    whole = sum(ready.count(str(group)) == size for group in range(replicas))
    moment = group_set["metadata"]["creationTimestamp"]
    state = "True" if whole == replicas else "False"
    available = {"type": "Available", "status": state, "reason": "Played", "message": "played"}
    return {
        "replicas": replicas,
        "updatedReplicas": replicas,
        "readyReplicas": whole,
        "conditions": [available | {"lastTransitionTime": moment}],
    }


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
