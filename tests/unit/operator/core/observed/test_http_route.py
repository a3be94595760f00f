"""HTTPRoutes as Gateways' controllers leave them."""

from typing import Any

import pytest

from finetune_operator.core.objects import Manifest
from finetune_operator.core.observed.http_route import ObservedRoute, observe_http_route

BOTH = [{"name": "faq", "port": 8000, "weight": 90}, {"name": "faq-canary", "port": 8000, "weight": 10}]


def condition(type_: str, status: str = "True", generation: int | None = 2, **fields: Any) -> Manifest:
    seen = {} if generation is None else {"observedGeneration": generation}
    return (
        {"type": type_, "status": status, "reason": type_, "lastTransitionTime": "2026-01-01T00:00:00Z"}
        | seen
        | fields
    )


def route(*parents: list[Manifest], gateways: int = 1) -> ObservedRoute:
    return observe_http_route(
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": "faq", "namespace": "ml", "generation": 2},
            "spec": {
                "parentRefs": [{"name": f"gateway-{number}"} for number in range(gateways)],
                "rules": [{"backendRefs": BOTH}],
            },
            "status": {"parents": [{"conditions": each} for each in parents]},
        }
    )


ACCEPTED, RESOLVED = condition("Accepted"), condition("ResolvedRefs")


@pytest.mark.parametrize(
    ("parents", "gateways", "accepted"),
    [
        pytest.param([], 1, False, id="nobody has seen it"),
        pytest.param([[ACCEPTED, RESOLVED]], 1, True, id="taken"),
        pytest.param([[ACCEPTED]], 1, True, id="a controller that says no more"),
        pytest.param([[RESOLVED]], 1, False, id="not accepted"),
        pytest.param([[ACCEPTED, RESOLVED]], 2, False, id="one of two Gateways"),
        pytest.param([[ACCEPTED, condition("ResolvedRefs", "False")]], 1, False, id="no such Service"),
        pytest.param([[condition("Accepted", generation=1)]], 1, False, id="as it was before"),
        pytest.param([[condition("Accepted", generation=None)]], 1, True, id="no generation"),
    ],
)
def test_whether_gateways_have_taken_it(parents: list[list[Manifest]], gateways: int, accepted: bool) -> None:
    assert route(*parents, gateways=gateways).accepted is accepted


def test_what_one_has_against_it() -> None:
    refused = route(
        [condition("Accepted", "False", message="not allowed"), condition("ResolvedRefs", "False")]
    )
    assert refused.refused == "not allowed; ResolvedRefs"


def test_whether_it_is_still_to_be_taken() -> None:
    assert [route().pending, route([condition("Accepted", generation=1)]).pending] == [False, True]
    assert route([ACCEPTED]).weights == {"faq": 90, "faq-canary": 10}
