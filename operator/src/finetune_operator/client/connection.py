"""The way to a cluster's API server, and a request with its refusal in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubernetes import client, config
from urllib3 import Retry
from urllib3.exceptions import HTTPError

from finetune_operator.local.errors import LocalError

TIMEOUT_SECONDS = 10
# A cluster that is not there is said at once. One that says "later" (429 and Retry-After, as while it makes
# the store of a CustomResourceDefinition that is new) is asked again then, as client-go does.
_RETRIES = Retry(total=20, connect=0, read=0, redirect=0, other=0, raise_on_status=False)
# https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
_NAMESPACE_OF_A_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def connect(context: str | None) -> tuple[client.ApiClient, str, bool]:
    """Return the client, the namespace to look in, and whether this is a pod of that cluster.

    By the kubeconfig; where there is none, in a pod, by its service account. Raises LocalError.
    """
    configuration = client.Configuration()
    configuration.retries = _RETRIES
    try:
        contexts, current = config.list_kube_config_contexts()  # type: ignore[no-untyped-call]
        config.load_kube_config(context=context, client_configuration=configuration)  # type: ignore[no-untyped-call]
    except config.ConfigException as error:
        if context is None and _is_pod_of_a_cluster(configuration):
            return client.ApiClient(configuration), _NAMESPACE_OF_A_POD.read_text().strip(), True
        raise LocalError(
            f"there is no cluster to ask: {error}",
            "choose one with KUBECONFIG or --context, or the folder of `finetune run` with --storage",
        ) from None
    chosen = next(each for each in contexts if each["name"] == (context or current["name"]))
    return client.ApiClient(configuration), chosen["context"].get("namespace", "default"), False


def _is_pod_of_a_cluster(configuration: client.Configuration) -> bool:
    try:
        config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except config.ConfigException:
        return False
    return True


def ask(request: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Make a request. Raises LocalError when it is refused or nobody answers."""
    try:
        return request(*arguments, **options, _request_timeout=TIMEOUT_SECONDS)
    except client.ApiException as refused:
        raise _refusal(refused) from None
    except HTTPError as error:
        raise LocalError(
            f"the cluster does not answer: {error}", "check the context and the network"
        ) from None


def _refusal(refused: client.ApiException) -> LocalError:
    if refused.status == 404 and "namespaces" not in _message(refused.body):
        return LocalError(
            "the cluster does not know FineTuneJob and ModelDeployment", "install the operator's chart first"
        )
    if refused.status in (400, 404, 409, 422) and (message := _message(refused.body)):
        return LocalError(f"the cluster refuses it: {message}", "change the object")
    return LocalError(
        f"the cluster answers {refused.status} {refused.reason}",
        "check the context and your rights: `kubectl auth can-i get finetunejobs.finetune.dev`",
    )


def _message(body: Any) -> str:
    """Return what a Status says, in one line; an empty text where there is none."""
    try:
        return " ".join(str(json.loads(body)["message"]).split())
    except (ValueError, TypeError, KeyError):
        return ""
