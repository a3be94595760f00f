"""What a run expects of its machines; a part of the trainer's configuration."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Preflight:
    nodes: int
    processes_per_node: int
    device: str
    float8_products: bool = False
    rdma: str = ""
    """The devices that the pods have asked for to reach each other by RDMA; empty where they have none."""
    enable: bool = True

    @property
    def world_size(self) -> int:
        return self.nodes * self.processes_per_node
