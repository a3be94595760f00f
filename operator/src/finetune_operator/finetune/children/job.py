"""The Job of one attempt of a stage: a single pod, one a node for training, one a shard for merging."""

from dataclasses import dataclass
from itertools import starmap

from finetune_operator.api.container import MAIN
from finetune_operator.api.export import PushSpec
from finetune_operator.api.job import FineTuneJob
from finetune_operator.api.pod_overrides import PodOverrides
from finetune_operator.api.secrets import SecretKeyRef
from finetune_operator.core.capacity.architecture import Architecture
from finetune_operator.core.capacity.host import CONVERSION, PREPARATION, HostNeeds, training_needs
from finetune_operator.core.capacity.node import has_whole_gpus
from finetune_operator.core.compiled import (
    cache_claim,
    cache_mounts,
    cache_volumes,
    server_cache_env,
    trainer_cache_env,
)
from finetune_operator.core.config import Config
from finetune_operator.core.labels import (
    ATTEMPT,
    PROGRESS_PORT_LABEL,
    QUEUE_NAME,
    RUN,
    SETTINGS,
    selector_labels,
)
from finetune_operator.core.objects import Manifest, without_empty
from finetune_operator.core.pod import (
    COMPLETION_INDEX,
    VOLUME_ROOT,
    ContainerSpec,
    PodSpec,
    build_pod_template,
    claim_mount,
    claim_volume,
    env_from_field,
    env_from_secret,
    env_var,
    port,
    with_overrides,
)
from finetune_operator.core.termination import FINAL
from finetune_operator.finetune.children.config_map import RUN_FILE, RUN_FOLDER
from finetune_operator.finetune.children.evaluation import (
    server_args,
    server_devices,
    server_env,
    server_needs,
)
from finetune_operator.finetune.children.names import Names, child_metadata
from finetune_operator.finetune.fits import training_process_bytes
from finetune_operator.finetune.overrides import overrides_of
from finetune_operator.finetune.progress import PROGRESS_PORT
from finetune_operator.finetune.rendezvous import gpu_env, rdma_env, rendezvous_env
from finetune_operator.finetune.settings import settings_of
from finetune_operator.finetune.stages import ON_GPUS, TRAITS, Stage, last_gate

# Seconds from SIGTERM to SIGKILL: training finishes its step and saves; the others only stop.
_TRAIN_GRACE_SECONDS, _GRACE_SECONDS = 300, 30

SIGNING_KEY = "MODEL_SIGNING_KEY"

# Environment variable: key of the Secret.
_CREDENTIALS = {
    "oci": {"DOCKER_AUTH_CONFIG": ".dockerconfigjson"},
    "hf": {"HF_TOKEN": "HF_TOKEN"},
    "s3": {name: name for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")},
}


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """Which attempt of which stage, and how long it may take."""

    stage: Stage
    number: int
    deadline_seconds: int | None = None
    told: Architecture | None = None
    """The base, as prepare read it."""


def desired_job(job: FineTuneJob, names: Names, attempt: Attempt, config: Config) -> Manifest:
    """Return the Job. A pod that fails ends it; whether there is a next attempt is the reconcile's to say."""
    stage = attempt.stage
    pods = _pods(job, stage)
    metadata = child_metadata(job, names.job(stage, attempt.number), stage, names.run)
    metadata["labels"] |= {ATTEMPT: str(attempt.number)}
    if settings := settings_of(job.spec).get(stage):
        metadata["labels"] |= {SETTINGS: settings}
    if job.spec.workers.ports.progress != PROGRESS_PORT:
        metadata["labels"] |= {PROGRESS_PORT_LABEL: str(job.spec.workers.ports.progress)}
    if stage in ON_GPUS and job.spec.scheduling.queue_name:
        metadata["labels"] |= {QUEUE_NAME: job.spec.scheduling.queue_name}
    overrides = overrides_of(job.spec, stage)
    spec = {
        "completionMode": "Indexed",
        "completions": pods,
        "parallelism": pods,
        "backoffLimit": 0,
        "activeDeadlineSeconds": attempt.deadline_seconds,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {"rules": _failure_rules()},
        "template": _pod_template(job, names, attempt, config, overrides),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": with_overrides(metadata, overrides),
        "spec": without_empty(spec),
    }


def _pods(job: FineTuneJob, stage: Stage) -> int:
    return {Stage.TRAIN: job.spec.workers.nodes, Stage.MERGE_SHARDS: job.spec.export.shards}.get(stage, 1)


def _failure_rules() -> list[Manifest]:
    """Return rules that change no outcome (backoffLimit is 0) but put the cause into the Job's condition."""
    return [
        {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": MAIN, "operator": "In", "values": [int(c) for c in FINAL]},
        },
    ]


def _pod_template(
    job: FineTuneJob, names: Names, attempt: Attempt, config: Config, overrides: PodOverrides
) -> Manifest:
    stage, spec = attempt.stage, job.spec
    selector = {**selector_labels(names.parent, stage), RUN: names.run}
    pod = PodSpec(
        container=_container(job, names, attempt, config, overrides),
        labels=selector,
        volumes=(
            claim_volume(names.claim),
            {"name": "run", "configMap": {"name": names.config_map}},
            *cache_volumes(_cache_claim(job, stage, config)),
            *config.egress.volumes,
        ),
        restart_policy="Never",
        grace_seconds=_TRAIN_GRACE_SECONDS if stage is Stage.TRAIN else _GRACE_SECONDS,
        priority_class_name=spec.scheduling.priority_class_name,
        subdomain=names.service if stage is Stage.TRAIN else None,
        affinity=_one_pod_a_node(selector) if stage is Stage.TRAIN and _may_share(job, config) else {},
    )
    return build_pod_template(pod, overrides)


def _container(
    job: FineTuneJob, names: Names, attempt: Attempt, config: Config, overrides: PodOverrides
) -> ContainerSpec:
    stage, workers, traits = attempt.stage, job.spec.workers, TRAITS[attempt.stage]
    trains, cache = stage is Stage.TRAIN, _cache_claim(job, stage, config)
    rendezvous = rendezvous_env(workers, names.job(stage, attempt.number), names.service) if trains else ()
    on_gpu = (*gpu_env(), *rdma_env(workers, overrides)) if trains and workers.gpus else ()
    return ContainerSpec(
        name=MAIN,
        image=getattr(config.images, traits.image),
        image_pull_policy=config.image_pull_policy,
        command=traits.command,
        args=("--run", f"{RUN_FOLDER}/{RUN_FILE}", "--root", VOLUME_ROOT, *_further_args(job, stage)),
        env=(
            *rendezvous,
            *on_gpu,
            *(trainer_cache_env(cache) if trains else ()),
            *((*server_cache_env(cache), *server_env(job)) if stage is Stage.EVALUATE else ()),
            *((env_from_field("SHARD_INDEX", COMPLETION_INDEX),) if stage is Stage.MERGE_SHARDS else ()),
            *starmap(env_var, config.egress.variables.items()),
            *_source_env(job, stage),
            *(_planned_memory(job, attempt) if trains else ()),
            *_tracking_env(job, stage),
            env_var("FINETUNE_PROGRESS_PORT", workers.ports.progress),
        ),
        ports=(
            *((port("rendezvous", workers.ports.rendezvous),) if trains else ()),
            port("progress", workers.ports.progress),
        ),
        requests=_host_needs(job, attempt).requests,
        limits=_devices(job, stage),
        mounts=(
            claim_mount(),
            {"name": "run", "mountPath": RUN_FOLDER, "readOnly": True},
            *cache_mounts(cache),
            *config.egress.mounts,
        ),
        added_capabilities=("IPC_LOCK",) if trains and workers.ipc_lock else (),
    )


def _cache_claim(job: FineTuneJob, stage: Stage, config: Config) -> str:
    """Return the claim for what a stage compiles; empty for those that compile nothing."""
    return cache_claim(job.spec.cache, config) if stage in ON_GPUS else ""


def _planned_memory(job: FineTuneJob, attempt: Attempt) -> tuple[Manifest, ...]:
    """Return the bytes of a training process that Fits counted, for the report; none where unknown."""
    planned = training_process_bytes(job.spec, attempt.told)
    return (env_var("FINETUNE_PLANNED_MEMORY", planned),) if planned else ()


def _host_needs(job: FineTuneJob, attempt: Attempt) -> HostNeeds:
    if attempt.stage is Stage.PREPARE:
        return PREPARATION
    if attempt.stage is Stage.EVALUATE:
        return server_needs(job, attempt.told)
    if attempt.stage is not Stage.TRAIN:
        return CONVERSION
    workers, process_bytes = job.spec.workers, training_process_bytes(job.spec, attempt.told)
    return training_needs(workers.processes, gpus=workers.gpus, process_bytes=process_bytes)


def _further_args(job: FineTuneJob, stage: Stage) -> tuple[str, ...]:
    """Return which process of how many this pod is, or how the server runs that is asked."""
    if stage is Stage.EVALUATE:
        return server_args(job)
    return ("--shard", f"$(SHARD_INDEX)/{job.spec.export.shards}") if stage is Stage.MERGE_SHARDS else ()


def _source_env(job: FineTuneJob, stage: Stage) -> tuple[Manifest, ...]:
    """Return what opens the sources and the target; only prepare and push go to the network."""
    if stage is Stage.PUSH:
        return _push_env(job.spec.export.push)
    if stage is not Stage.PREPARE:
        signing = job.spec.export.signing if stage is last_gate(job.spec) else None
        key = (env_from_secret(SIGNING_KEY, signing.key_secret_ref),) if signing else ()
        return (env_var("HF_HUB_OFFLINE", 1), *key)
    return _hub_env(job.spec.model.token_secret_ref, job.spec.dataset.token_secret_ref)


def _tracking_env(job: FineTuneJob, stage: Stage) -> tuple[Manifest, ...]:
    """Return the keys of who is told the metrics; prepare looks whether they are there."""
    tracking = job.spec.tracking
    if tracking is None or stage not in (Stage.PREPARE, Stage.TRAIN):
        return ()
    keys: dict[str, SecretKeyRef | None] = {
        "WANDB_API_KEY": tracking.wandb.api_key_secret_ref if tracking.wandb else None,
        "MLFLOW_TRACKING_TOKEN": tracking.mlflow.token_secret_ref if tracking.mlflow else None,
    }
    if stage is Stage.TRAIN:  # of prepare it is the hub's own, for what it fetches
        keys["HF_TOKEN"] = tracking.trackio.token_secret_ref if tracking.trackio else None
    return tuple(env_from_secret(name, key) for name, key in keys.items() if key)


def _hub_env(of_model: SecretKeyRef | None, of_dataset: SecretKeyRef | None) -> tuple[Manifest, ...]:
    """Return the tokens of the hub. One that is given alone opens both; the dataset's own is its alone."""
    tokens = {"HF_TOKEN": of_model or of_dataset}
    if of_model and of_dataset and of_dataset != of_model:
        tokens["HF_DATASET_TOKEN"] = of_dataset
    return tuple(env_from_secret(name, token) for name, token in tokens.items() if token)


def _push_env(push: PushSpec | None) -> tuple[Manifest, ...]:
    """Return the Secret's keys under the names that the clients of each kind of place read."""
    if push is None or push.credentials_secret_ref is None:
        return ()
    secret = push.credentials_secret_ref.name
    keys = _CREDENTIALS[push.uri.partition("://")[0]]
    return tuple(env_from_secret(name, SecretKeyRef(name=secret, key=key)) for name, key in keys.items())


def _devices(job: FineTuneJob, stage: Stage) -> Manifest:
    if stage is Stage.EVALUATE:
        return server_devices(job)
    if stage is not Stage.TRAIN:
        return {}
    workers = job.spec.workers
    gpus = {workers.gpu_resource_name: workers.gpus} if workers.gpus else {}
    rdma = {workers.rdma_resource_name: 1} if workers.rdma_resource_name else {}
    return {**gpus, **rdma}


def _may_share(job: FineTuneJob, config: Config) -> bool:
    """Return whether two pods would fit one node: where each takes every GPU of its node, they never do.

    The scheduler compares an anti-affinity with every pod of every node.
    """
    workers = job.spec.workers
    takes_all = has_whole_gpus(workers.gpu_resource_name) and workers.gpus >= config.gpus_per_node
    return workers.nodes > 1 and not takes_all


def _one_pod_a_node(selector: dict[str, str]) -> Manifest:
    term = {"labelSelector": {"matchLabels": selector}, "topologyKey": "kubernetes.io/hostname"}
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
