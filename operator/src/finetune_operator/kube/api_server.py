"""What the API server is asked: apply, delete, status, events, lists; each an HTTP request."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.exceptions import ApiException
from prometheus_client import Counter

from finetune_operator.core.labels import MANAGER
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.kube.resources import BY_KIND, EVENTS, Resource

_APPLY = "application/apply-patch+yaml"
PAGE = 500
"""How many objects of a list are asked for at once."""
_WHOLE = "application/json"
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

REQUESTS = Counter(
    "finetune_api_requests_total", "Requests to the Kubernetes API", ("verb", "resource", "code")
)


class ApiServer:
    """Answers, or refuses: that raises ApiException. Without `may_write`, every change is refused here."""

    def __init__(self, client: ApiClient, may_write: Callable[[], bool] = lambda: True) -> None:
        self._client = client
        self._may_write = may_write

    async def serves(self, resource: Resource) -> bool:
        """Return whether the cluster has the API of a kind."""
        try:
            known = await self._request("GET", resource, f"/apis/{resource.api_version}")
        except ApiException as refused:
            if refused.status != 404:
                raise
            return False
        return any(each["name"] == resource.plural for each in known["resources"])

    async def get(self, ref: Ref) -> Manifest | None:
        """Return an object, or None when it is not there."""
        resource = BY_KIND[ref.kind]
        try:
            return await self._request("GET", resource, resource.path(ref.namespace, ref.name))
        except ApiException as refused:
            if refused.status != 404:
                raise
            return None

    async def create(self, manifest: Manifest) -> Manifest | None:
        """Create an object; return None when one of its name is there."""
        ref = Ref.of(manifest)
        resource, query = BY_KIND[ref.kind], {"fieldManager": MANAGER}
        try:
            return await self._request(
                "POST", resource, resource.path(ref.namespace), query=query, body=manifest
            )
        except ApiException as refused:
            if refused.status != 409:
                raise
            return None

    async def replace(self, manifest: Manifest) -> Manifest | None:
        """Replace an object that is still of the version it says; return None when it is another, or gone."""
        ref = Ref.of(manifest)
        resource, query = BY_KIND[ref.kind], {"fieldManager": MANAGER}
        path = resource.path(ref.namespace, ref.name)
        try:
            return await self._request("PUT", resource, path, query=query, body=manifest)
        except ApiException as refused:
            if refused.status not in (404, 409):
                raise
            return None

    async def apply(self, manifest: Manifest) -> Manifest:
        """Apply an object server-side, taking over the fields that it has.

        https://kubernetes.io/docs/reference/using-api/server-side-apply/
        """
        return await self._apply(Ref.of(manifest), manifest)

    async def apply_status(self, ref: Ref, uid: str, status: Manifest) -> Manifest:
        """Write the whole status of a parent; refused when another object has its name by now."""
        metadata = {"name": ref.name, "namespace": ref.namespace, "uid": uid}
        body = {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": metadata, "status": status}
        return await self._apply(ref, body, "status")

    async def _apply(self, ref: Ref, body: Manifest, subresource: str = "") -> Manifest:
        resource = BY_KIND[ref.kind]
        query = {"fieldManager": MANAGER, "force": "true"}
        path = resource.path(ref.namespace, ref.name, subresource)
        return await self._request("PATCH", resource, path, query=query, body=body, content_type=_APPLY)

    async def delete(self, ref: Ref, uid: str) -> None:
        """Delete an object; one that is gone, or that is another by now, is left alone.

        In the foreground: a Job is there until its pods are gone, and so its next attempt waits for them.
        """
        resource = BY_KIND[ref.kind]
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Foreground",
            "preconditions": {"uid": uid},
        }
        try:
            await self._request("DELETE", resource, resource.path(ref.namespace, ref.name), body=body)
        except ApiException as refused:
            if refused.status not in (404, 409):
                raise

    async def create_event(self, event: Manifest) -> None:
        """Create a Kubernetes event."""
        path = EVENTS.path(event["metadata"]["namespace"])
        await self._request("POST", EVENTS, path, body=event)

    async def list_events_of(self, ref: Ref, uid: str) -> list[Manifest]:
        """Return some events of an object, of which its namespace has any number."""
        query = {"fieldSelector": f"involvedObject.uid={uid}", "limit": str(PAGE)}
        listed = await self._request("GET", EVENTS, EVENTS.path(ref.namespace), query=query)
        events: list[Manifest] = listed["items"]
        return events

    async def list_each(
        self, resource: Resource, namespace: str | None, *, metadata_only: bool = False
    ) -> AsyncIterator[Manifest]:
        """Yield the objects that concern us, or no more of them than their metadata.

        They come in pages, of which none is held while the next one is under way: of 9,000 jobs that was
        more than all that is kept of them.
        """
        query = _selection(resource) | {"limit": str(PAGE)}
        accept = _METADATA_ONLY if metadata_only else _WHOLE
        while True:
            path = resource.path(namespace)
            listed = await self._request("GET", resource, path, query=query, accept=accept)
            for item in listed["items"]:
                yield item
            rest = listed["metadata"].get("continue")
            item = listed = {}
            if not rest:
                return
            query["continue"] = rest

    async def _request(
        self,
        method: str,
        resource: Resource,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str = "application/json",
        accept: str = _WHOLE,
    ) -> Manifest:
        if method != "GET" and not self._may_write():
            # As from a server that is away: whoever leads by now does it, and this process ends in a moment.
            raise ApiException(status=0, reason="this replica does not lead any more")
        request = await self._client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params={"Content-Type": content_type, "Accept": accept},
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = await self._client.call_api(*request, _request_timeout=30)
        await answer.read()  # type: ignore[no-untyped-call]
        REQUESTS.labels(method, resource.plural, answer.status).inc()
        if not 200 <= answer.status <= 299:
            raise ApiException(http_resp=answer)
        decoded: Any = await answer.response.json()
        return dict(decoded)


def _selection(resource: Resource) -> dict[str, str]:
    return {"labelSelector": resource.label_selector} if resource.label_selector else {}


def message_of(refused: ApiException) -> str:
    """Return what the API server said of a request that it refused."""
    try:
        return str(json.loads(refused.body or "")["message"])
    except (ValueError, KeyError, TypeError):
        return f"{refused.status} {refused.reason}"


def is_namespace_ending(refused: ApiException) -> bool:
    """Return whether the API server refused to make something because its namespace is being deleted."""
    return refused.status == 403 and "NamespaceTerminating" in (refused.body or "")
