"""The environment by which torchrun's agents meet, under the names that users of PyTorchJob know."""

import re

from finetune_operator.api.pod_overrides import PodOverrides
from finetune_operator.api.workers import WorkersSpec
from finetune_operator.core.objects import Manifest
from finetune_operator.core.pod import COMPLETION_INDEX, env_from_field, env_var


def rendezvous_env(workers: WorkersSpec, job: str, service: str) -> tuple[Manifest, ...]:
    """Return the variables of one attempt, whose Job and headless Service have these names.

    Rank 0 hosts the store, by its index. PET_RDZV_ID is the attempt's own, so that a straggler of the attempt
    before cannot join, and nobody's guess: the uid that Kubernetes gave the Job.
    """
    return (
        env_from_field("NODE_RANK", COMPLETION_INDEX),
        env_var("MASTER_ADDR", f"{job}-0.{service}"),
        env_var("MASTER_PORT", workers.ports.rendezvous),
        env_var("WORLD_SIZE", workers.world_size),
        env_var("PET_NNODES", workers.nodes),
        env_var("PET_NPROC_PER_NODE", workers.processes),
        env_var("PET_NODE_RANK", "$(NODE_RANK)"),
        # Every rank is known: c10d's agents would unpickle what anybody puts into the store (docs/adr/0011).
        env_var("PET_RDZV_BACKEND", "static"),
        env_var("PET_RDZV_ENDPOINT", "$(MASTER_ADDR):$(MASTER_PORT)"),
        env_from_field("PET_RDZV_ID", "metadata.labels['batch.kubernetes.io/controller-uid']"),
        # A failed process ends the pod, the pod ends the attempt, and the next attempt is a new Job.
        env_var("PET_MAX_RESTARTS", 0),
    )


# A device of RDMA, by its name: rdma/hca, vpc.amazonaws.com/efa, nvidia.com/mlnxnics, nvidia.com/sriov_rdma.
_OF_RDMA = re.compile(r"rdma|infiniband|roce|mlnxnics|/(efa|ib|hca)", re.IGNORECASE)


def rdma_env(workers: WorkersSpec, overrides: PodOverrides) -> tuple[Manifest, ...]:
    """Return what tells training that its pods reach each other by RDMA: TCP is then a failure."""
    limits = overrides.resources.limits if overrides.resources else {}
    named = [workers.rdma_resource_name] if workers.rdma_resource_name else []
    devices = dict.fromkeys([*named, *filter(_OF_RDMA.search, limits)])
    return (env_var("FINETUNE_RDMA", ", ".join(devices)),) if devices and workers.nodes > 1 else ()


def gpu_env() -> tuple[Manifest, ...]:
    """Return the variables of NCCL and of the CUDA allocator."""
    return (
        env_var("NCCL_DEBUG", "WARN"),
        # Less fragmentation where activations differ in size: https://pytorch.org/docs/stable/notes/cuda.html
        env_var("PYTORCH_ALLOC_CONF", "expandable_segments:True"),
    )
