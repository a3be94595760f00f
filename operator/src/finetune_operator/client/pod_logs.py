"""The logs of a cluster's pods, read on from where one was."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from kubernetes import client
from urllib3.exceptions import HTTPError

from finetune_operator.api.resources import MODEL_DEPLOYMENT
from finetune_operator.client.place import ContainerLog
from finetune_operator.core.labels import COMPONENT
from finetune_operator.local.errors import LocalError
from finetune_operator.serving.children.names import SERVE

_TIMEOUT_SECONDS = 30


def container_logs(api: client.ApiClient, pods: Iterable[Any], kind: str) -> Iterator[ContainerLog]:
    """Yield the logs of those of an instance's pods that are of a job, or of a deployment, by its kind.

    One may have the other's name.
    """
    for pod in sorted(pods, key=lambda pod: (pod.metadata.creation_timestamp, pod.metadata.name)):
        stage = pod.metadata.labels[COMPONENT]
        if (stage == SERVE) != (kind == MODEL_DEPLOYMENT.kind):
            continue
        for status in (*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ())):
            if status.state.running or status.state.terminated or status.restart_count:
                yield ContainerLog(
                    pod=pod.metadata.name,
                    container=status.name,
                    stage=stage,
                    read=partial(_read, api, pod.metadata, status.name),
                )


def _read(
    api: client.ApiClient, pod: Any, container: str, position: str, tail: int | None
) -> tuple[list[str], str]:
    """Return what a container wrote after a moment, which is a position. Raises LocalError.

    Moments are the node's, with each line; asked for those since one, it compares whole seconds.
    """
    query = {"container": container, "timestamps": "true", "sinceTime": position, "tailLines": tail}
    path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/log"
    try:
        text = _get(api, path, {name: value for name, value in query.items() if value})
    except client.ApiException as refused:
        if refused.status in (400, 404):  # it is only just being made, or gone
            return [], position
        raise LocalError(
            f"the log of pod {pod.name} cannot be read: {refused.status} {refused.reason}",
            "check your rights with `kubectl auth can-i get pods/log`, and its node with "
            f"`kubectl get pod {pod.name} --output=wide`",
        ) from None
    except HTTPError as error:
        raise LocalError(f"the cluster does not answer: {error}", "check the network") from None
    found = [line.partition(" ") for line in text.splitlines()]
    new = [(moment, words) for moment, _, words in found if moment > position]
    return [words for _, words in new], new[-1][0] if new else position


def _get(api: client.ApiClient, path: str, query: dict[str, object]) -> str:
    """Return what the API server answers. The client's own method knows no sinceTime."""
    request = api.param_serialize(
        "GET", path, query_params=list(query.items()), auth_settings=["BearerToken"]
    )
    answer = api.call_api(*request, _request_timeout=_TIMEOUT_SECONDS)
    body = answer.read()  # type: ignore[no-untyped-call]
    if answer.status != 200:
        raise client.ApiException(status=answer.status, reason=answer.reason)
    return bytes(body).decode(errors="replace")
