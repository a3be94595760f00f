"""The Job of one attempt of a stage: a single pod, or one a node for training."""

from dataclasses import dataclass

from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.config import Config
from finetune_operator.core.labels import ATTEMPT, QUEUE_NAME, RUN, selector_labels
from finetune_operator.core.objects import Manifest, without_empty
from finetune_operator.core.pod import (
    VOLUME_ROOT,
    ContainerSpec,
    PodSpec,
    build_pod_template,
    claim_mount,
    claim_volume,
    env_from_secret,
    env_var,
    port,
)
from finetune_operator.core.termination import FINAL
from finetune_operator.finetune.children.config_map import RUN_FILE, RUN_FOLDER
from finetune_operator.finetune.children.names import Names, child_metadata
from finetune_operator.finetune.progress import PROGRESS_PORT
from finetune_operator.finetune.rendezvous import RENDEZVOUS_PORT, gpu_env, rendezvous_env
from finetune_operator.finetune.stages import TRAITS, Stage

CONTAINER = "main"

# Seconds from SIGTERM to SIGKILL: training finishes its step and saves; the others only stop.
_GRACE_SECONDS = {Stage.PREPARE: 30, Stage.TRAIN: 300, Stage.MERGE: 30, Stage.VERIFY: 30}


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """Which attempt of which stage, and how long it may take."""

    stage: Stage
    number: int
    deadline_seconds: int | None = None


def desired_job(job: FineTuneJob, names: Names, attempt: Attempt, config: Config) -> Manifest:
    """Return the Job. A pod that fails ends it; whether there is a next attempt is the reconcile's to say."""
    stage = attempt.stage
    nodes = job.spec.workers.nodes if stage is Stage.TRAIN else 1
    metadata = child_metadata(job, names.job(stage, attempt.number), stage, names.run)
    metadata["labels"] |= {ATTEMPT: str(attempt.number)}
    if stage is Stage.TRAIN and job.spec.scheduling.queue_name:
        metadata["labels"] |= {QUEUE_NAME: job.spec.scheduling.queue_name}
    spec = {
        "completionMode": "Indexed",
        "completions": nodes,
        "parallelism": nodes,
        "backoffLimit": 0,
        "activeDeadlineSeconds": attempt.deadline_seconds,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {"rules": _failure_rules()},
        "template": _pod_template(job, names, attempt, config),
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": without_empty(spec)}


def _failure_rules() -> list[Manifest]:
    """Return rules that change no outcome (backoffLimit is 0) but put the cause into the Job's condition."""
    return [
        {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [int(c) for c in FINAL]},
        },
    ]


def _pod_template(job: FineTuneJob, names: Names, attempt: Attempt, config: Config) -> Manifest:
    stage, spec = attempt.stage, job.spec
    selector = {**selector_labels(names.parent, stage), RUN: names.run}
    pod = PodSpec(
        container=_container(job, names, attempt, config),
        labels=selector,
        volumes=(claim_volume(names.claim), {"name": "run", "configMap": {"name": names.config_map}}),
        restart_policy="Never",
        grace_seconds=_GRACE_SECONDS[stage],
        priority_class_name=spec.scheduling.priority_class_name,
        subdomain=names.service if stage is Stage.TRAIN else None,
        affinity=_one_pod_a_node(selector) if stage is Stage.TRAIN and spec.workers.nodes > 1 else {},
    )
    return build_pod_template(pod, spec.workers.pod_template)


def _container(job: FineTuneJob, names: Names, attempt: Attempt, config: Config) -> ContainerSpec:
    stage, workers, traits = attempt.stage, job.spec.workers, TRAITS[attempt.stage]
    trains = stage is Stage.TRAIN
    rendezvous = rendezvous_env(workers, names.job(stage, attempt.number), names.service) if trains else ()
    on_gpu = gpu_env() if trains and workers.gpus_per_node else ()
    return ContainerSpec(
        name=CONTAINER,
        image=getattr(config.images, traits.image),
        image_pull_policy=config.image_pull_policy,
        command=traits.command,
        args=("--run", f"{RUN_FOLDER}/{RUN_FILE}", "--root", VOLUME_ROOT),
        env=(
            *rendezvous,
            *on_gpu,
            *_source_env(job, stage),
            env_var("FINETUNE_PROGRESS_PORT", PROGRESS_PORT),
        ),
        ports=(*((port("rendezvous", RENDEZVOUS_PORT),) if trains else ()), port("progress", PROGRESS_PORT)),
        limits=_devices(job) if trains else {},
        mounts=(claim_mount(), {"name": "run", "mountPath": RUN_FOLDER, "readOnly": True}),
        # RDMA registers memory, which must be locked; the limit of a container is 64 KiB without it.
        added_capabilities=("IPC_LOCK",) if trains and workers.rdma_resource_name else (),
        template_resources=trains,
    )


def _source_env(job: FineTuneJob, stage: Stage) -> tuple[Manifest, ...]:
    """Return what opens the sources; only prepare goes to the network."""
    if stage is not Stage.PREPARE:
        return (env_var("HF_HUB_OFFLINE", 1),)
    token = job.spec.model.token_secret_ref or job.spec.dataset.token_secret_ref
    return (env_from_secret("HF_TOKEN", token),) if token else ()


def _devices(job: FineTuneJob) -> Manifest:
    workers = job.spec.workers
    gpus = {workers.gpu_resource_name: workers.gpus_per_node} if workers.gpus_per_node else {}
    rdma = {workers.rdma_resource_name: 1} if workers.rdma_resource_name else {}
    return {**gpus, **rdma}


def _one_pod_a_node(selector: dict[str, str]) -> Manifest:
    term = {"labelSelector": {"matchLabels": selector}, "topologyKey": "kubernetes.io/hostname"}
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
