"""How the workers divide the model and the data."""

from typing import Annotated, Literal

from pydantic import Field

from finetune_operator.api.base import ApiModel

FrozenWeights = Literal["sharded", "resident"]
Degree = Annotated[int, Field(ge=1, le=65536)]


class ParallelismSpec(ApiModel):
    """Degrees of parallelism. replicate x data x tensor x pipeline x context is the number of processes."""

    data: Degree | None = None
    """Data-parallel degree; parameters are sharded over it (FSDP). Default: what the others leave."""

    replicate: Degree = 1
    """Whole copies of the base, each sharded over its own processes (HSDP). As many as there are nodes: only
    adapters' gradients then travel between nodes, and each node has to hold the base."""

    tensor: Degree = 1
    """Tensor-parallel degree."""

    expert: Degree = 1
    """Expert-parallel degree; it takes its processes from data, context and tensor, within a copy."""

    pipeline: Degree = 1
    """Pipeline-parallel degree."""

    context: Degree = 1
    """Context-parallel degree: a sequence is divided over it."""

    frozen_weights: FrozenWeights = "sharded"
    """Where the frozen base is: sharded over data and context, and gathered layer by layer, twice a step
    (FSDP); or resident, whole on each of these processes, divided by tensor, expert and pipeline alone.
    Faster, for base models that fit so."""

    @property
    def model_degree(self) -> int:
        """Processes that hold one replica of the batch: tensor x pipeline x context."""
        return self.tensor * self.pipeline * self.context

    def data_degree(self, world_size: int) -> int:
        """Return how many micro-batches that many processes work on at once: replicate x data."""
        return world_size // self.model_degree
