"""What NetworkPolicies of every child have in common.

https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

from finetune_operator.core.objects import Manifest

TO_DNS: Manifest = {"ports": [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]}
"""Egress to names, wherever the cluster's DNS is: on nodes too."""


def policy_spec(selector: dict[str, str], *, ingress: list[Manifest], egress: list[Manifest]) -> Manifest:
    """Return the spec of a policy: what it does not name is closed, unless another policy opens it."""
    return {
        "podSelector": {"matchLabels": selector},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": ingress,
        "egress": egress,
    }


def tcp(port: int) -> list[Manifest]:
    """Return the ports of a rule."""
    return [{"port": port, "protocol": "TCP"}]
