"""What a Gateway's controller does of HTTPRoutes that are its own: it takes each as it is, and says so."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Any

from kubernetes import client

ROUTES = ("gateway.networking.k8s.io", "v1")
PLURAL = "httproutes"


@contextmanager
def played_gateway(api: client.ApiClient, namespace: str) -> Iterator[None]:
    """While the block runs, every HTTPRoute of the namespace is taken as it is."""
    ended = Event()
    thread = Thread(target=_play, args=(client.CustomObjectsApi(api), namespace, ended))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _play(custom: client.CustomObjectsApi, namespace: str, ended: Event) -> None:
    while not ended.wait(0.3):
        for route in custom.list_namespaced_custom_object(*ROUTES, namespace, PLURAL)["items"]:
            status = _status(route)
            if route.get("status") != status:
                name = route["metadata"]["name"]
                with suppress(client.ApiException):  # it is gone
                    custom.patch_namespaced_custom_object_status(
                        *ROUTES, namespace, PLURAL, name, {"status": status}
                    )


def _status(route: dict[str, Any]) -> dict[str, Any]:
    metadata = route["metadata"]
    said = {
        "status": "True",
        "observedGeneration": metadata["generation"],
        "lastTransitionTime": metadata["creationTimestamp"],
        "message": "",
    }
    conditions = [
        {"type": "Accepted", "reason": "Accepted", **said},
        {"type": "ResolvedRefs", "reason": "ResolvedRefs", **said},
    ]
    controller = {"controllerName": "example.com/played", "conditions": conditions}
    return {"parents": [{"parentRef": each, **controller} for each in route["spec"]["parentRefs"]]}
