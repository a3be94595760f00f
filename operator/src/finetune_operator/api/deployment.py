"""ModelDeployment: a vLLM server of a model in the volume, or of an image."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from finetune_operator.api.autoscaling import AutoscalingSpec
from finetune_operator.api.base import ApiModel
from finetune_operator.api.cache import CacheSpec
from finetune_operator.api.deployment_status import ModelDeploymentStatus
from finetune_operator.api.device import Device, only_with_gpus
from finetune_operator.api.engine_args import ENGINE_ARG_RULES
from finetune_operator.api.formats import (
    DeviceName,
    Quantity,
    listed_by,
)
from finetune_operator.api.metadata import Metadata
from finetune_operator.api.pod_overrides import PodOverrides
from finetune_operator.api.rollout import RolloutSpec
from finetune_operator.api.rules import Rule
from finetune_operator.api.secrets import SecretKeyRef
from finetune_operator.api.served_model import AdapterSpec, ServedModelSpec
from finetune_operator.api.storage import StorageSpec
from finetune_operator.api.volume import SERVER_VOLUMES, mounts_name_volumes
from finetune_operator.api.workers import Port

LoadFormat = Literal["auto", "safetensors", "fastsafetensors", "instanttensor", "runai_streamer"]
ServedName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=253)]


class ServingSpec(ApiModel):
    """How a model is served."""

    replicas: Annotated[int, Field(ge=0, le=1024)] = 1
    """Servers, each with the whole model. With autoscaling leave it out: 0 turns that off."""

    autoscaling: AutoscalingSpec | None = None
    """Replicas by the requests that wait. Default: as many as replicas says."""

    tensor_parallel_size: Annotated[int, Field(ge=1, le=64)] = 1
    """GPUs that share every layer; 8 for DeepSeek-V3 on 8 x H200."""

    pipeline_parallel_size: Annotated[int, Field(ge=1, le=64)] = 1
    """Groups of layers, each on its own GPUs."""

    data_parallel_size: Annotated[int, Field(ge=1, le=64)] = 1
    """Copies of attention and dense layers, each on GPUs of its own, with a share of the requests and of the
    experts; 8 with tensorParallelSize 1 gives DeepSeek-V3 on 8 GPUs eight KV caches instead of the same one
    eight times."""

    expert_parallel: bool = False
    """Give each of a replica's GPUs whole experts, instead of a part of each. vLLM's
    --enable-expert-parallel; it takes as much memory either way."""

    nodes: Annotated[int, Field(ge=1, le=64)] = 1
    """Nodes of each replica, which share its GPUs evenly (vLLM's --nnodes). With more than one, servers are
    a LeaderWorkerSet, whose API the cluster must have, and a new version that is never ready is not rolled
    back. One machine leaves it out."""

    device: Device = "gpu"
    """What the server computes on: gpu, or cpu, which is for debug sizes."""

    gpus: Annotated[int, Field(ge=1, le=64)] | None = None
    """GPUs of each replica. Default: tensorParallelSize x pipelineParallelSize x dataParallelSize; none with
    device cpu."""

    gpu_resource_name: DeviceName = "nvidia.com/gpu"
    """The resource that stands for a GPU."""

    gpu_memory: Quantity | None = None
    """Memory of each GPU, such as 80G: what serving is compared with before it starts. Default: the
    operator's."""

    served_model_name: ServedName | None = None
    """The model's name in the API. Default: the deployment's name."""

    port: Port = 8000
    """Where a server listens in its pod. On the node's network (hostNetwork) two servers on a node need
    different ones. The Service is at port 8000 in any case."""

    max_model_len: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Context length in tokens. Default: the model's own."""

    load_format: LoadFormat = "auto"
    """How weights are read, by vLLM's names. auto, vLLM's own, is as fast as volumes of less than 5 GB/s;
    instanttensor is faster where a volume is. On CPUs auto or safetensors. Others of vLLM's go into
    engineArgs, whose --load-format is refused beside one that is set here."""

    engine_args: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=1024)]], Field(max_length=64)
    ] = []
    """More arguments of vLLM's server, such as --max-num-seqs. They come last, so that they win;
    what has a field of its own, and what names code to run, is refused."""

    trust_remote_code: bool = False
    """Run Python code that comes with the model."""

    api_key_secret_ref: SecretKeyRef | None = None
    """The Secret key that requests must present. Default: the API is open to whoever reaches it."""

    termination_grace_period_seconds: Annotated[int, Field(ge=30, le=86400)] = 300
    """Seconds that open requests have to end when a pod is stopped; one without any stops at once."""

    adapters: Annotated[list[AdapterSpec], *listed_by("name"), Field(max_length=64)] = []
    """LoRA adapters served beside the model. Those of a server that runs are loaded, replaced and removed
    without a restart; the first start waits until all are trained."""

    max_lora_rank: Annotated[int, Field(ge=1, le=512)] | None = None
    """The highest rank of an adapter (vLLM's --max-lora-rank); takes GPU memory. Another one restarts the
    servers, and so does the first adapter without it. Default: that of the adapters' jobs, 16 at least."""

    cache: CacheSpec | None = None
    """Where the kernels and graphs are kept that vLLM compiles at its first start, for the pods that come
    after. Default: the operator's; without one each pod compiles anew."""

    rollout: RolloutSpec = Field(default_factory=RolloutSpec)
    """How new pods replace old ones."""

    pod_overrides: PodOverrides = Field(default_factory=PodOverrides)
    """Overrides of the pods."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!has(self.cache)"
            " || !self.podOverrides.env.exists(v, v.name in ['HOME', 'CUTE_DSL_CACHE_DIR'])",
            problem="a cache is where HOME is",
            remedy="remove HOME and CUTE_DSL_CACHE_DIR from podOverrides.env, or remove cache",
            field="podOverrides.env",
        ),
        only_with_gpus("gpus"),
        only_with_gpus("gpuMemory"),
        Rule(
            rule="self.device == 'cpu' || !has(self.gpus)"
            " || self.gpus == self.tensorParallelSize * self.pipelineParallelSize * self.dataParallelSize",
            problem="gpus is not tensorParallelSize x pipelineParallelSize x dataParallelSize",
            remedy="leave it out, or set device to cpu to serve without GPUs",
            field="gpus",
        ),
        Rule(
            rule="(self.tensorParallelSize * self.pipelineParallelSize * self.dataParallelSize)"
            " % self.nodes == 0",
            problem="nodes do not share tensorParallelSize x pipelineParallelSize x dataParallelSize evenly",
            remedy="set it to a number that divides them",
            field="nodes",
        ),
        Rule(
            rule="self.dataParallelSize % self.nodes == 0 || self.nodes % self.dataParallelSize == 0",
            problem="dataParallelSize and nodes do not divide each other: a copy would end amid a node",
            remedy="set it to a multiple of dataParallelSize, or to what divides that",
            field="nodes",
        ),
        Rule(
            rule="self.nodes == 1 || !has(self.rollout.canary)",
            problem="servers on several nodes have no canary",
            remedy="remove it, or set nodes to 1",
            field="rollout.canary",
        ),
        Rule(
            rule="self.device == 'gpu' || self.loadFormat in ['auto', 'safetensors']",
            problem="device is cpu, and its server reads auto and safetensors alone",
            remedy="remove it, or set device to gpu",
            field="loadFormat",
        ),
        *ENGINE_ARG_RULES,
        Rule(
            rule="size(self.adapters) == 0 || !self.engineArgs.exists(a, a.matches('^--all2all'))",
            problem="adapters take one all2all backend, allgather_reducescatter, which is set",
            remedy="remove --all2all-backend",
            field="engineArgs",
        ),
        Rule(
            rule="size(self.adapters) == 0 && self.nodes == 1"
            " || !self.engineArgs.exists(a, a.matches('^--api[-_]s'))",
            problem="adapters are loaded by one process of the API, and nodes but the first have none",
            remedy="remove --api-server-count",
            field="engineArgs",
        ),
        Rule(
            rule="!self.podOverrides.env.exists(v,"
            " v.name in ['SERVING_PORT', 'SERVED_MODEL_NAME', 'FINETUNE_PROBE'])",
            problem="this variable tells the server and its probes where and what to answer",
            remedy="remove it; servedModelName is the model's name",
            field="podOverrides.env",
        ),
        Rule(
            rule="!self.podOverrides.env.exists(v, v.name == 'VLLM_API_KEY')",
            problem="the server's key is not a variable to be given here",
            remedy="remove it, put the key into a Secret, and set apiKeySecretRef to it",
            field="podOverrides.env",
        ),
        *mounts_name_volumes("self.podOverrides", SERVER_VOLUMES, field="podOverrides"),
    )

    @property
    def gpus_per_replica(self) -> int:
        """GPUs of a replica, on all its nodes together."""
        if self.device == "cpu":
            return 0
        return self.tensor_parallel_size * self.pipeline_parallel_size * self.data_parallel_size

    @property
    def gpus_per_pod(self) -> int:
        """GPUs that each of a replica's pods asks for, one a node."""
        return self.gpus_per_replica // self.nodes


_IS_AN_IMAGE = "self.model.uri.startsWith('oci://')"


class ModelDeploymentSpec(ServingSpec):
    """Which model is served, and how."""

    model: ServedModelSpec
    """The model."""

    storage: StorageSpec | None = None
    """The volume of a model given by a path. The model of a FineTuneJob is in that job's volume."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *ServingSpec.rules,
        Rule(
            rule=f"!has(self.model.uri) || {_IS_AN_IMAGE} || has(self.storage)",
            problem="a model given by uri needs a volume",
            remedy="set storage.claimName to the claim that holds it",
            field="storage",
        ),
        Rule(
            rule=f"!has(self.model.uri) || !{_IS_AN_IMAGE} || !has(self.storage)",
            problem="an image is in no volume",
            remedy="remove storage",
            field="storage",
        ),
        Rule(
            rule=f"!has(self.model.uri) || !{_IS_AN_IMAGE} || size(self.adapters) == 0",
            problem="adapters are served from the model's volume, and an image is in none",
            remedy="bring the model into the adapters' volume, or remove them",
            field="adapters",
        ),
        Rule(
            rule="!has(self.storage) || has(self.storage.claimName)",
            problem="a volume that is made anew holds no model",
            remedy="set storage.claimName to the claim that holds it",
            field="storage",
        ),
        Rule(
            rule="!has(self.model.fineTuneJobRef) || !has(self.storage)",
            problem="the model of a FineTuneJob is in that job's volume",
            remedy="remove storage",
            field="storage",
        ),
    )


class ModelDeployment(ApiModel):
    """Serves a model with vLLM; available only when it can generate."""

    api_version: Literal["finetune.dev/v1alpha1"] = "finetune.dev/v1alpha1"
    kind: Literal["ModelDeployment"] = "ModelDeployment"
    metadata: Metadata

    spec: ModelDeploymentSpec
    """What is wanted."""

    status: ModelDeploymentStatus | None = None
    """What is."""
