"""The processes that train, and the pods they run in."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from finetune_operator.api.base import ApiModel
from finetune_operator.api.formats import DeviceName, Quantity
from finetune_operator.api.pod_template import PodTemplateSpec
from finetune_operator.api.rules import Rule

Device = Literal["cpu", "cuda"]


class WorkersSpec(ApiModel):
    """One pod a node, and in it one process a GPU."""

    nodes: Annotated[int, Field(ge=1, le=1024)] = 1
    """Pods that train together, each on its own node. Default: 1."""

    gpus_per_node: Annotated[int, Field(ge=0, le=64)] = 1
    """GPUs of each pod. 0 trains on the CPU, which is for debug sizes. Default: 1."""

    processes_per_node: Annotated[int, Field(ge=1, le=64)] | None = None
    """Processes in each pod. Default: one a GPU, or 1 without GPUs."""

    gpu_resource_name: DeviceName = "nvidia.com/gpu"
    """The resource that stands for a GPU. Default: nvidia.com/gpu."""

    gpu_memory: Quantity | None = None
    """Memory of each GPU, such as 80G: what training is compared with before it starts. Default: the
    operator's, 141G."""

    rdma_resource_name: DeviceName | None = None
    """The resource of the RDMA network, such as rdma/hca; one is asked for each pod. Default: none."""

    ipc_lock: bool = False
    """Add the capability IPC_LOCK, which RDMA needs where containers may not lock memory (ulimit -l). A
    namespace with the restricted or the baseline pod-security level refuses it. Default: false."""

    pod_template: PodTemplateSpec = Field(default_factory=PodTemplateSpec)
    """Overrides of the job's pods."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!has(self.processesPerNode) || self.gpusPerNode == 0"
            " || self.processesPerNode <= self.gpusPerNode",
            problem="there are more processes than GPUs in a pod",
            remedy="leave processesPerNode out, or make it at most gpusPerNode",
            field="processesPerNode",
        ),
    )

    @property
    def device(self) -> Device:
        """What the processes compute on."""
        return "cuda" if self.gpus_per_node else "cpu"

    @property
    def processes(self) -> int:
        """Processes in each pod."""
        return self.processes_per_node or self.gpus_per_node or 1

    @property
    def world_size(self) -> int:
        """Processes in all pods."""
        return self.nodes * self.processes
