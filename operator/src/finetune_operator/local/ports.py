"""Ports of containers as free ports of this machine."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from finetune_operator.core.objects import Manifest

SHARED_BY_JOB = frozenset({"rendezvous"})
"""Ports by which the pods of a Job meet: one for all of them; every other port is a pod's own."""


def free_port() -> int:
    """Return a TCP port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass(frozen=True)
class Ports:
    """Which port of this machine stands for which port of a container."""

    by_name: Mapping[str, int]
    by_number: Mapping[int, int] = field(default_factory=dict)

    def localize(self, name: str, value: str) -> str:
        """Return the value of an environment variable: ports are named by variables that end in _PORT."""
        if name.endswith("_PORT") and value.isdigit():
            return str(self.by_number.get(int(value), int(value)))
        return value

    def of(self, port: str | int) -> int:
        """Return the local port of a probe's port, given by name or number."""
        return self.by_name[port] if isinstance(port, str) else self.by_number.get(port, port)


def allocate_ports(container: Manifest, shared: Mapping[str, int]) -> Ports:
    """Give every port that a container declares a free port, or the shared one of that name."""
    by_name = {p["name"]: shared.get(p["name"]) or free_port() for p in container.get("ports", [])}
    by_number = {p["containerPort"]: by_name[p["name"]] for p in container.get("ports", [])}
    return Ports(by_name, by_number)
