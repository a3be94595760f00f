"""FineTuneJob: from base weights and data to a merged model."""

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from finetune_operator.api.base import ApiModel
from finetune_operator.api.cache import CacheSpec
from finetune_operator.api.dataset import DatasetSpec
from finetune_operator.api.deployment import ServingSpec
from finetune_operator.api.evaluation import EvaluationSpec
from finetune_operator.api.export import ExportSpec
from finetune_operator.api.lora import LoraSpec
from finetune_operator.api.metadata import Metadata
from finetune_operator.api.model_source import ModelSpec
from finetune_operator.api.pod_overrides import PodOverrides
from finetune_operator.api.rules import Rule
from finetune_operator.api.scheduling import FailurePolicy, SchedulingSpec
from finetune_operator.api.status import FineTuneJobStatus
from finetune_operator.api.storage import StorageSpec
from finetune_operator.api.tracking import TrackingSpec
from finetune_operator.api.training import Flavor, TrainingSpec
from finetune_operator.api.volume import JOB_VOLUMES, mounts_name_volumes
from finetune_operator.api.what_may_change import transition_rules
from finetune_operator.api.workers import WorkersSpec

StageName = Literal["prepare", "train", "merge", "verify", "evaluate", "push"]
_MODEL_PROCESSES = (
    "(self.training.parallelism.tensor * self.training.parallelism.pipeline"
    " * self.training.parallelism.context)"
)
_COPY_PROCESSES = f"({_MODEL_PROCESSES} * self.training.parallelism.replicate)"
_WORLD_SIZE = (
    "(self.workers.nodes * (has(self.workers.processesPerNode) ? self.workers.processesPerNode"
    " : (has(self.workers.gpusPerNode) ? self.workers.gpusPerNode : 1)))"
)
_DATA_DEGREE = f"({_WORLD_SIZE} / {_MODEL_PROCESSES})"


class FineTuneJobSpec(ApiModel):
    """What is trained, on what, where, and what comes out."""

    model: ModelSpec
    """The base model."""

    flavor: Flavor = "auto"
    """The model's shape: auto, which is the base's own config.json, or one that the base has to be: tiny_lora
    and deepseek_aghilora for debugging, 16B_lora, 671B_lora."""

    dataset: DatasetSpec
    """The data to train on."""

    lora: LoraSpec = Field(default_factory=LoraSpec)
    """The adapter."""

    training: TrainingSpec
    """Steps, optimizer, batches and parallelism."""

    tracking: TrackingSpec | None = None
    """TensorBoard, Weights & Biases, MLflow or trackio, told the run's metrics. Default: none."""

    workers: WorkersSpec = Field(default_factory=WorkersSpec)
    """The processes that train, and their pods."""

    stage_overrides: Annotated[dict[StageName, PodOverrides], Field(max_length=6)] = {}
    """Overrides of a stage's pods, on top of workers.podOverrides: by prepare, train, merge, verify,
    evaluate, push."""

    storage: StorageSpec
    """The volume that all stages share."""

    export: ExportSpec = Field(default_factory=ExportSpec)
    """The model that comes out."""

    evaluation: EvaluationSpec | None = None
    """Questions that the base and the merged model answer before that is released, and what it has to reach.
    Default: none are asked."""

    cache: CacheSpec | None = None
    """Where the kernels are kept that training compiles at its first step, and an evaluation's server at its
    start, for the pods that come after. Default: the operator's; without one each pod compiles anew."""

    scheduling: SchedulingSpec = Field(default_factory=SchedulingSpec)
    """Queue, priority, suspension and deadline."""

    failure_policy: FailurePolicy = Field(default_factory=FailurePolicy)
    """What happens when an attempt fails."""

    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    """Seconds after which a finished job is deleted; what it made in the volume stays. Not with a deployment
    or a claim of the job's own, which would be deleted too. Default: never."""

    deployment: ServingSpec | None = None
    """Serve the model when it is there, by a ModelDeployment of the job's name. Default: none."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!has(self.cache) || !self.workers.podOverrides.env.exists(v, v.name in "
            "['HOME', 'TRITON_CACHE_DIR', 'TORCHINDUCTOR_CACHE_DIR', 'CUTE_DSL_CACHE_DIR'])",
            problem="a cache is where HOME is, and these are below it",
            remedy="remove these from workers.podOverrides.env, or remove cache",
            field="workers.podOverrides.env",
        ),
        Rule(
            rule=f"self.stageOverrides.all(stage, stage in {list(get_args(StageName))})",
            problem="there is no such stage",
            remedy=f"use {', '.join(get_args(StageName))}; a server's are in deployment.podOverrides",
            field="stageOverrides",
        ),
        *mounts_name_volumes(
            "self.stageOverrides[s]",
            JOB_VOLUMES,
            field="stageOverrides",
            base="self.workers.podOverrides",
            each="self.stageOverrides",
        ),
        Rule(
            rule=f"{_WORLD_SIZE} % {_COPY_PROCESSES} == 0",
            problem="replicate x tensor x pipeline x context does not divide the number of processes, "
            "nodes x processes of a node",
            remedy="change a degree, or workers",
            field="training.parallelism",
        ),
        Rule(
            rule=f"!has(self.training.parallelism.data) || {_WORLD_SIZE} % {_COPY_PROCESSES} != 0"
            f" || self.training.parallelism.data * self.training.parallelism.replicate == {_DATA_DEGREE}",
            problem="replicate x data x tensor x pipeline x context is not the number of processes",
            remedy="leave data out, and it is what the others leave",
            field="training.parallelism.data",
        ),
        Rule(
            rule="self.model.layers == 'all' || self.flavor == 'auto'",
            problem="the debug form of a base is of no named flavor",
            remedy="remove flavor",
            field="flavor",
        ),
        Rule(
            rule="self.training.method == 'dpo'"
            " ? self.dataset.format in ['auto', 'preference']"
            " && self.dataset.sources.all(s, s.format in ['auto', 'preference'])"
            " : self.dataset.format != 'preference' && self.dataset.sources.all(s, s.format != 'preference')",
            problem="method dpo learns from data in format preference, and sft from all others",
            remedy="set training.method to the other, or correct dataset.format",
            field="training.method",
        ),
        Rule(
            rule="self.training.method == 'sft' || (self.dataset.train == 'all'"
            " && self.dataset.sources.all(s, s.train == 'all'))",
            problem="of a preference pair both answers are learned from, all of them",
            remedy="remove train",
            field="training.method",
        ),
        Rule(
            rule="!self.lora.dora || !self.training.checkpoint.adapters",
            problem="vLLM serves no adapter with DoRA unmerged",
            remedy="remove it, or remove dora",
            field="training.checkpoint.adapters",
        ),
        Rule(
            rule="!self.lora.dora || self.training.parallelism.tensor == 1",
            problem="dora is not computed with tensor parallelism",
            remedy="divide by other degrees, or remove dora",
            field="lora.dora",
        ),
        Rule(
            rule="self.training.select == 'last' || self.dataset.validationShare > 0.0",
            problem="nothing is held out to tell which step is the best",
            remedy="set dataset.validationShare, such as 0.05, or select to last",
            field="training.select",
        ),
        Rule(
            rule="self.dataset.validationShare > 0.0"
            " || (!has(self.training.validation.patience)"
            " && (!has(self.training.validation.interval) || has(self.training.samples)))",
            problem="nothing is held out to validate on",
            remedy="set dataset.validationShare, such as 0.05, or remove validation",
            field="training.validation",
        ),
        # torchtitan's ParallelDims: the expert degree is taken from data, context and tensor.
        Rule(
            rule=f"({_WORLD_SIZE} / (self.training.parallelism.pipeline"
            " * self.training.parallelism.replicate)) % self.training.parallelism.expert == 0",
            problem="the expert degree does not divide data x context x tensor",
            remedy="change it, replicate, or workers",
            field="training.parallelism.expert",
        ),
        Rule(
            rule=f"!has(self.training.globalBatchSize) || {_DATA_DEGREE} == 0 || "
            f"self.training.globalBatchSize % (self.training.microBatchSize * {_DATA_DEGREE}) == 0",
            problem="globalBatchSize is no multiple of microBatchSize times the data-parallel degree",
            remedy="make it one, or leave it out",
            field="training.globalBatchSize",
        ),
        Rule(
            rule="self.workers.nodes == 1 || !has(self.storage.accessModes)"
            " || 'ReadWriteMany' in self.storage.accessModes",
            problem="pods on several nodes cannot share this claim",
            remedy="add ReadWriteMany, or leave accessModes out",
            field="storage.accessModes",
        ),
        Rule(
            rule="!has(self.ttlSecondsAfterFinished) || !has(self.deployment)",
            problem="the deployment, and so its endpoint, would be deleted with the job",
            remedy="remove it, or serve by a ModelDeployment of its own, by uri: status.modelPath",
            field="ttlSecondsAfterFinished",
        ),
        Rule(
            rule="!has(self.ttlSecondsAfterFinished) || has(self.storage.claimName)",
            problem="the claim that is made for the job, and so the model, would be deleted with it",
            remedy="remove it, or set storage.claimName to a claim of yours",
            field="ttlSecondsAfterFinished",
        ),
        Rule(
            rule="!has(self.evaluation) || !self.export.adapterOnly",
            problem="there is no merged model to evaluate",
            remedy="remove evaluation, or set export.adapterOnly to false",
            field="evaluation",
        ),
        Rule(
            rule="!has(self.evaluation) || !has(self.evaluation.gpus) || self.workers.device == 'gpu'",
            problem="workers.device is cpu, which has no GPUs",
            remedy="remove it, or set workers.device to gpu",
            field="evaluation.gpus",
        ),
        Rule(
            rule="!has(self.deployment) || !self.export.adapterOnly",
            problem="there is no merged model to serve",
            remedy="remove deployment, or set export.adapterOnly to false",
            field="deployment",
        ),
    )


class FineTuneJob(ApiModel):
    """Fine-tunes a language model: fetch, train LoRA, merge and verify."""

    api_version: Literal["finetune.dev/v1alpha1"] = "finetune.dev/v1alpha1"
    kind: Literal["FineTuneJob"] = "FineTuneJob"
    metadata: Metadata

    spec: FineTuneJobSpec
    """What is wanted."""

    status: FineTuneJobStatus | None = None
    """What is."""

    rules: ClassVar[tuple[Rule, ...]] = transition_rules(FineTuneJobSpec)
