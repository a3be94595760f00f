"""How many GPUs a pod may ask for: never more than a node has, or it waits for ever."""

from dataclasses import dataclass

from finetune_operator.core.capacity.demand import Demand, FitsReason

# Other resources are slices of a GPU, or shared: of these a node has as many as its administrator makes.
_WHOLE_GPUS = ("nvidia.com/gpu", "amd.com/gpu")


@dataclass(frozen=True, kw_only=True)
class GpuDemand(Demand):
    """GPUs instead of bytes."""

    def amount(self, count: int) -> str:
        """Return so many of them, for people."""
        return str(count)

    @property
    def sentence(self) -> str:
        """The numbers, for people."""
        return (
            f"{self.subject} asks for {self.needed} GPUs in one pod, and a node has {self.available} "
            "(gpusPerNode in the chart)"
        )


def has_whole_gpus(resource: str) -> bool:
    """Return whether a resource counts the GPUs of a node."""
    return resource in _WHOLE_GPUS


def too_many_gpus(subject: str, gpus: int, resource: str, gpus_per_node: int) -> tuple[Demand, ...]:
    """Return what no node has; nothing where a node has enough."""
    if gpus <= gpus_per_node or not has_whole_gpus(resource):
        return ()
    parts = {"GPUs": gpus}
    return (
        GpuDemand(
            subject=subject,
            parts=parts,
            place="a node",
            available=gpus_per_node,
            reason=FitsReason.TOO_MANY_GPUS,
        ),
    )
