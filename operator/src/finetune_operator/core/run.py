"""The run of a job: its id, its folders in the volume, and run.json, which every container reads.

The contract is in contract/README.md.
"""

import re
from itertools import takewhile

from finetune_operator.api.dataset import DatasetSource, Rows
from finetune_operator.api.device import Device
from finetune_operator.api.evaluation import EvaluationSpec, EvaluationTask
from finetune_operator.api.job import FineTuneJob, FineTuneJobSpec
from finetune_operator.api.lora import AdapterSource, LoraSpec
from finetune_operator.api.model_source import ModelSpec
from finetune_operator.api.run_data import RunDataset, RunEvaluation, RunSource, RunTask
from finetune_operator.api.run_file import (
    RunAdapterSource,
    RunExport,
    RunFile,
    RunLora,
    RunModel,
    RunPaths,
    RunPush,
    RunWorkers,
    TorchDevice,
)
from finetune_operator.api.run_tracking import RunMlflow, RunTensorboard, RunTracking, RunTrackio, RunWandb
from finetune_operator.api.run_training import (
    RunCheckpoint,
    RunDpo,
    RunParallelism,
    RunSamples,
    RunTraining,
    RunValidation,
)
from finetune_operator.api.tracking import TrackingSpec
from finetune_operator.api.training import DpoSpec
from finetune_operator.api.what_may_change import what_decides
from finetune_operator.core.digest import run_id

_SCHEME = re.compile(r"^(hf|s3)://")
_TORCH_DEVICES: dict[Device, TorchDevice] = {"gpu": "cuda", "cpu": "cpu"}
_GLOB = re.compile(r"[*?\[]")


def run_of(spec: FineTuneJobSpec) -> str:
    """Return the id of a job's run.

    Without defaults: a field that a later version of the operator adds has its default in every job that
    exists, and must not make that job train again. What the spec leaves to the workers counts as they are.
    """
    decisive = what_decides(spec.model_dump(mode="json", by_alias=True, exclude_defaults=True))
    training = {**decisive["training"], "globalBatchSize": _global_batch_size(spec)}
    return run_id(
        {"lora": {}, "export": {}, **decisive, "training": training, "workers": _workers(spec).to_dict()}
    )


def build_run_file(job: FineTuneJob, adapter_path: str | None = None) -> RunFile:
    """Return the content of run.json.

    adapter_path: the adapter of the job that lora.from names, in the volume. Without it the run file says
    nothing of that adapter, and is not to be written.
    """
    spec, metadata = job.spec, job.metadata
    run, push = run_of(spec), spec.export.push
    return RunFile(
        schema_version=1,
        namespace=metadata.namespace,
        name=metadata.name,
        run=run,
        paths=RunPaths(
            base=base_path(spec.model),
            run=f"runs/{metadata.namespace}/{metadata.name}/{run}",
        ),
        model=RunModel(
            uri=spec.model.uri,
            revision=spec.model.revision,
            layers=spec.model.layers,
            verify=spec.model.verify,
        ),
        flavor=spec.flavor,
        dataset=RunDataset(
            sources=[_source(source) for source in spec.dataset.each],
            validation_share=spec.dataset.validation_share,
        ),
        lora=_lora(spec.lora, adapter_path),
        training=_training(spec),
        tracking=_tracking(spec.tracking),
        workers=_workers(spec),
        export=RunExport(
            dtype=spec.export.dtype,
            shards=spec.export.shards,
            verify=spec.export.verify,
            sign=spec.export.signing is not None,
            adapter_only=spec.export.adapter_only,
            push=RunPush(uri=push.uri, format=push.format) if push else None,
        ),
        evaluation=_evaluation(spec.evaluation),
    )


def base_path(model: ModelSpec) -> str:
    """Return where a base is in the volume; its debug form has a folder beside it."""
    path = source_path("models", model.uri, model.revision)
    return path if model.layers == "all" else f"{path.rstrip('/')}-{model.layers}"


def source_path(folder: str, uri: str, revision: str | None) -> str:
    """Return where a source is in the volume; a path is one already.

    A remote source gets a folder by its name and revision, so that jobs share it:
    hf://deepseek-ai/DeepSeek-V3 at main is models/deepseek-ai--DeepSeek-V3@main.
    """
    if not _SCHEME.match(uri):
        return uri
    name = _SCHEME.sub("", uri).strip("/").replace("/", "--")
    revision = (revision or "main").replace("/", "--")
    return f"{folder}/{name}@{revision}" if uri.startswith("hf://") else f"{folder}/{name}"


def dataset_path(uri: str, revision: str | None) -> str:
    """Return where a dataset is in the volume; of a remote one the folder that its files are fetched into.

    That of a repository is the repository's, and that of a glob the folder where the glob begins, so that
    sources share it.
    """
    if not _SCHEME.match(uri):
        return uri
    segments = uri.rstrip("/").split("/")
    if uri.startswith("hf://"):
        return source_path("datasets", "/".join(segments[:4]), revision)
    fixed = takewhile(lambda segment: not _GLOB.search(segment), segments)
    return source_path("datasets", "/".join(fixed), revision)


def _lora(lora: LoraSpec, adapter_path: str | None) -> RunLora:
    return RunLora(
        rank=lora.rank,
        alpha=lora.alpha,
        dropout=lora.dropout,
        targets=lora.targets,
        use_rslora=lora.use_rslora,
        dora=lora.dora,
        rank_pattern={str(name): rank for name, rank in lora.rank_pattern.items()},
        alpha_pattern={str(name): alpha for name, alpha in lora.alpha_pattern.items()},
        from_=_adapter(lora.from_, adapter_path),
    )


def _adapter(source: AdapterSource | None, path_of_job: str | None) -> RunAdapterSource | None:
    if source is None or (source.uri is None and path_of_job is None):
        return None
    if source.uri is None:
        assert path_of_job is not None
        return RunAdapterSource(uri=path_of_job, path=path_of_job)
    path = source_path("adapters", source.uri, source.revision)
    return RunAdapterSource(uri=source.uri, path=path, revision=source.revision)


def _source(source: DatasetSource) -> RunSource:
    return RunSource(
        uri=source.uri,
        path=dataset_path(source.uri, source.revision),
        share=source.share,
        **{name: getattr(source, name) for name in Rows.model_fields},
    )


def _evaluation(spec: EvaluationSpec | None) -> RunEvaluation | None:
    return RunEvaluation(tasks=[*map(_task, spec.tasks)], require=spec.require) if spec else None


def _task(task: EvaluationTask) -> RunTask:
    shared = Rows.model_fields.keys() & EvaluationTask.model_fields.keys()
    source = RunSource(
        uri=task.uri,
        path=dataset_path(task.uri, task.revision),
        **{name: getattr(task, name) for name in sorted(shared)},
    )
    return RunTask(
        name=task.name,
        metric=task.metric,
        lm_eval=task.lm_eval,
        source=source,
        limit=task.limit,
        max_tokens=task.max_tokens,
    )


def _global_batch_size(spec: FineTuneJobSpec) -> int:
    training = spec.training
    data = training.parallelism.data_degree(spec.workers.world_size)
    return training.global_batch_size or training.micro_batch_size * data


def _workers(spec: FineTuneJobSpec) -> RunWorkers:
    workers = spec.workers
    device = _TORCH_DEVICES[workers.device]
    return RunWorkers(nodes=workers.nodes, processes_per_node=workers.processes, device=device)


def _tracking(spec: TrackingSpec | None) -> RunTracking:
    """Return who is told what; the keys to them are the pods' environment, never the run file's."""
    asked = spec or TrackingSpec()
    mlflow = asked.mlflow
    return RunTracking(
        tensorboard=RunTensorboard() if asked.tensorboard else None,
        wandb=RunWandb(
            project=asked.wandb.project,
            entity=asked.wandb.entity,
            base_url=asked.wandb.base_url,
            offline=asked.wandb.offline,
        )
        if asked.wandb
        else None,
        mlflow=RunMlflow(uri=mlflow.uri, experiment=mlflow.experiment) if mlflow else None,
        trackio=RunTrackio(project=asked.trackio.project, space=asked.trackio.space)
        if asked.trackio
        else None,
    )


def _training(spec: FineTuneJobSpec) -> RunTraining:
    training, degrees = spec.training, spec.training.parallelism
    dpo = training.dpo or DpoSpec()
    return RunTraining(
        method=training.method,
        dpo=RunDpo(**dict(dpo)) if training.method == "dpo" else None,
        steps=training.steps,
        epochs=training.epochs,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        warmup_steps=training.warmup_steps,
        schedule=training.schedule,
        sequence_length=training.sequence_length,
        micro_batch_size=training.micro_batch_size,
        global_batch_size=_global_batch_size(spec),
        seed=training.seed,
        precision=training.precision,
        frozen_dtype=training.frozen_dtype,
        frozen_arithmetic=training.frozen_arithmetic,
        recompute=training.recompute,
        checkpoint=RunCheckpoint(**training.checkpoint.model_dump()),
        select=training.select,
        validation=RunValidation(
            interval=training.validation.interval, patience=training.validation.patience
        ),
        samples=RunSamples(**dict(training.samples)) if training.samples else None,
        parallelism=RunParallelism(
            data=degrees.data,
            replicate=degrees.replicate,
            tensor=degrees.tensor,
            expert=degrees.expert,
            pipeline=degrees.pipeline,
            context=degrees.context,
            frozen_weights=degrees.frozen_weights,
        ),
        overrides=training.overrides,
    )
