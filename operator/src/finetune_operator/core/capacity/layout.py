"""How processes divide what they train."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How processes divide model and data; data parallelism is what the other degrees leave (FSDP).

    replicate: whole copies of the base, each divided over its own processes (HSDP).
    resident: FSDP divides nothing of the base. Nor does it what it would divide over one process.
    """

    processes: int
    replicate: int = 1
    tensor: int = 1
    expert: int = 1
    pipeline: int = 1
    context: int = 1
    resident: bool = False

    @property
    def shards(self) -> int:
        """Processes that FSDP divides a weight over, beside tensor parallelism."""
        return max(1, self.processes // (self.replicate * self.tensor * self.pipeline))

    @property
    def replicas(self) -> int:
        """Different micro-batches in work at once."""
        return max(1, self.replicate * self.shards // self.context)

    @property
    def expert_shards(self) -> int:
        """Processes that FSDP divides a weight of the experts over, beside expert parallelism."""
        return self.shards * self.tensor // self.expert if self.expert > 1 else self.shards
