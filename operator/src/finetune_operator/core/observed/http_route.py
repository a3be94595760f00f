"""HTTPRoutes: which Services get which share of the requests, and whether the Gateways have taken that.

https://gateway-api.sigs.k8s.io/reference/spec/#httproute
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from finetune_operator.core.conditions import condition_of, time_of
from finetune_operator.core.objects import Manifest
from finetune_operator.core.observed.child import ObservedChild, child_fields
from finetune_operator.core.observed.object import wakes_nobody

HTTP_ROUTE = "HTTPRoute"
HTTP_ROUTE_VERSION = "gateway.networking.k8s.io/v1"


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedRoute(ObservedChild):
    """An HTTPRoute."""

    weights: Mapping[str, int] = field(default_factory=dict)
    """Of its Services, by their names."""
    accepted: bool = False
    """Every Gateway that it names has taken it as it is now."""
    pending: bool = False
    """A Gateway's controller has seen it, and not as it is now."""
    accepted_since: datetime | None = wakes_nobody(None)
    """When the last of them took it; a change of weights does not change this."""
    refused: str = ""
    """What a Gateway has against it."""


def observe_http_route(obj: Manifest) -> ObservedRoute:
    """Return an HTTPRoute.

    A Gateway's controller writes an entry of status.parents for each of spec.parentRefs, with the conditions
    Accepted and ResolvedRefs. Without any, no controller has seen the route.
    """
    spec, status = obj.get("spec", {}), obj.get("status", {})
    parents = status.get("parents") or []
    conditions = [list(_newest(parent, obj["metadata"].get("generation", 1))) for parent in parents]
    wanted = len(spec.get("parentRefs") or [])
    flat = [each for found in conditions for each in found]
    return ObservedRoute(
        **child_fields(obj),
        weights=dict(_weights(spec)),
        accepted=len(parents) >= wanted > 0 and all(map(_is_taken, conditions)),
        pending=any(not found for found in conditions),
        accepted_since=max(
            (t for each in flat if (t := time_of(each.get("lastTransitionTime")))), default=None
        ),
        refused="; ".join(
            each.get("message") or each["reason"] for each in flat if each["status"] == "False"
        ),
    )


def _newest(parent: Manifest, generation: int) -> Iterator[Mapping[str, Any]]:
    """Yield what a Gateway says of the route as it is now."""
    for name in ("Accepted", "ResolvedRefs"):
        condition = condition_of(parent, name)
        if condition and condition.get("observedGeneration", generation) >= generation:
            yield condition


def _is_taken(conditions: list[Mapping[str, Any]]) -> bool:
    accepted = any(each["type"] == "Accepted" for each in conditions)
    return accepted and all(each["status"] == "True" for each in conditions)


def _weights(spec: Manifest) -> Iterator[tuple[str, int]]:
    for rule in spec.get("rules") or ():
        for backend in rule.get("backendRefs") or ():
            yield backend["name"], backend.get("weight", 1)
