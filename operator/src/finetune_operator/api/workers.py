"""The processes that train, and the pods they run in."""

from typing import Annotated, ClassVar

from pydantic import Field

from finetune_operator.api.base import ApiModel
from finetune_operator.api.device import Device, only_with_gpus
from finetune_operator.api.formats import DeviceName, Quantity
from finetune_operator.api.pod_overrides import PodOverrides
from finetune_operator.api.rules import Rule
from finetune_operator.api.volume import JOB_VOLUMES, mounts_name_volumes

Port = Annotated[int, Field(ge=1024, le=65535)]


class PortsSpec(ApiModel):
    """Where the pods listen. On the node's network (hostNetwork) two jobs on a node need different ones."""

    rendezvous: Port = 29500
    """Of the first training pod, where the others meet it."""

    progress: Port = 9400
    """Of every stage: GET /progress and /metrics."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.rendezvous != self.progress",
            problem="a pod listens on both",
            remedy="give it another port than rendezvous",
            field="progress",
        ),
    )


class WorkersSpec(ApiModel):
    """One pod per node, and in it one process per GPU."""

    nodes: Annotated[int, Field(ge=1, le=1024)] = 1
    """Pods that train together, each on its own node."""

    device: Device = "gpu"
    """What the processes compute on: gpu, or cpu, which is for debug sizes."""

    gpus_per_node: Annotated[int, Field(ge=1, le=64)] | None = None
    """GPUs of each pod. Default: 1; none with device cpu."""

    processes_per_node: Annotated[int, Field(ge=1, le=64)] | None = None
    """Processes in each pod. Default: one a GPU, or 1 with device cpu."""

    gpu_resource_name: DeviceName = "nvidia.com/gpu"
    """The resource that stands for a GPU."""

    gpu_memory: Quantity | None = None
    """Memory of each GPU, such as 80G: what training is compared with before it starts. Default: the
    operator's."""

    rdma_resource_name: DeviceName | None = None
    """The resource of the RDMA network, such as rdma/hca; one is asked for each pod. Default: none."""

    ipc_lock: bool = False
    """Add the capability IPC_LOCK, which RDMA needs where containers may not lock memory (ulimit -l). A
    namespace with the restricted or the baseline pod-security level refuses it."""

    ports: PortsSpec = Field(default_factory=PortsSpec)
    """Ports of the job's pods."""

    pod_overrides: PodOverrides = Field(default_factory=PodOverrides)
    """Overrides of the job's pods."""

    rules: ClassVar[tuple[Rule, ...]] = (
        only_with_gpus("gpusPerNode"),
        only_with_gpus("gpuMemory"),
        Rule(
            rule="self.device == 'cpu' || !has(self.processesPerNode)"
            " || self.processesPerNode <= (has(self.gpusPerNode) ? self.gpusPerNode : 1)",
            problem="there are more processes than GPUs in a pod",
            remedy="leave processesPerNode out, or make it at most gpusPerNode",
            field="processesPerNode",
        ),
        *mounts_name_volumes("self.podOverrides", JOB_VOLUMES, field="podOverrides"),
    )

    @property
    def gpus(self) -> int:
        """GPUs of each pod."""
        return 0 if self.device == "cpu" else self.gpus_per_node or 1

    @property
    def processes(self) -> int:
        """Processes in each pod."""
        return self.processes_per_node or self.gpus or 1

    @property
    def world_size(self) -> int:
        """Processes in all pods."""
        return self.nodes * self.processes
