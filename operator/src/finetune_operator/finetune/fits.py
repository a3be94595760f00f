"""Whether a job fits: GPU memory to train, host memory to convert, its volume, and GPU memory to serve."""

import math
from collections.abc import Sequence
from dataclasses import replace

from finetune_operator.api.job import FineTuneJob, FineTuneJobSpec
from finetune_operator.api.lora import unserved_message
from finetune_operator.api.quantity import parse_bytes
from finetune_operator.core.capacity.architecture import Architecture, Dtype, Weights
from finetune_operator.core.capacity.base_model import base_architecture
from finetune_operator.core.capacity.changes import Change, doublings, halvings
from finetune_operator.core.capacity.conversion import CONVERSION_BYTES, volume_bytes
from finetune_operator.core.capacity.demand import Demand, FitsReason
from finetune_operator.core.capacity.fits import fits_condition
from finetune_operator.core.capacity.node import too_many_gpus
from finetune_operator.core.capacity.serving_demands import fewer_gpus, serving_changes, serving_demands
from finetune_operator.core.capacity.training import OVERHEAD_BYTES, Layout, Training, training_memory
from finetune_operator.core.capacity.weights import checkpoint_bytes
from finetune_operator.core.conditions import Condition
from finetune_operator.core.config import Config
from finetune_operator.core.outcome import exported_weights
from finetune_operator.finetune.evaluation import evaluation_server

_MOST_NODES = 64
_ROOM = 1.1


def fits_of(job: FineTuneJob, config: Config, told: Architecture | None = None) -> Condition:
    """Return the Fits condition, with the nearest changes that help when it is False.

    told: what prepare read of the base, where it has.
    """
    condition = fits_condition(
        job,
        lambda job: demands_of(job.spec, config, told),
        lambda exceeded: _changes(job.spec, exceeded, config, told),
    )
    if condition.status == "Unknown" and base_architecture(job.spec, told) is None:
        message = _UNKNOWN.format(uri=job.spec.model.uri)
        condition = replace(condition, reason=FitsReason.SIZE_UNKNOWN, message=message)
    lora = job.spec.lora
    if not job.spec.export.adapter_only or not lora.unserved_targets:
        return condition
    # It may be for another server: said before training, and not refused.
    return replace(condition, message=f"{condition.message}; {unserved_message(lora.unserved_targets)}")


_UNKNOWN = (
    "How large {uri} is, is not known before prepare reads its config.json: what is needed is compared then, "
    "before training starts"
)


def demands_of(spec: FineTuneJobSpec, config: Config, told: Architecture | None = None) -> tuple[Demand, ...]:
    """Return everything that a job needs, as far as it is known how large its base is."""
    model = base_architecture(spec, told)
    conversion = () if spec.export.adapter_only else (_conversion(),)
    workers = spec.workers
    gpus = too_many_gpus("Training", workers.gpus, workers.gpu_resource_name, config.gpus_per_node)
    if model is None:
        return (*gpus, *conversion)
    training, volume = _training(spec, model, config), _volume(spec, model)
    return (
        *gpus,
        training,
        *conversion,
        volume,
        *_evaluation(spec, model, config),
        *_serving(spec, model, config),
    )


def training_process_bytes(spec: FineTuneJobSpec, told: Architecture | None = None) -> int:
    """Return the bytes of model, optimizer and activations of one training process; 0 where unknown."""
    model = base_architecture(spec, told)
    return sum(training_memory(_trained(spec, model)).values()) if model else 0


def _training(spec: FineTuneJobSpec, model: Architecture, config: Config) -> Demand:
    workers, needed = spec.workers, training_memory(_trained(spec, model))
    if not workers.gpus:
        place = "host memory of each process"
        return Demand(subject="Training", parts=needed, place=place, reason=FitsReason.TRAINING_MEMORY)
    return Demand(
        subject="Training",
        parts={**needed, "CUDA, NCCL and fragmentation": OVERHEAD_BYTES},
        place="each GPU",
        available=parse_bytes(workers.gpu_memory or config.gpu_memory),
        reason=FitsReason.TRAINING_MEMORY,
    )


def _trained(spec: FineTuneJobSpec, model: Architecture) -> Training:
    training, degrees, workers = spec.training, spec.training.parallelism, spec.workers
    together = training.micro_batch_size * degrees.data_degree(workers.world_size)
    compute: Dtype = training.precision
    return Training(
        model=model,
        layout=Layout(
            processes=workers.world_size,
            replicate=degrees.replicate,
            tensor=degrees.tensor,
            expert=degrees.expert,
            pipeline=degrees.pipeline,
            context=degrees.context,
            resident=degrees.frozen_weights == "resident",
        ),
        frozen="float8" if training.frozen_dtype == "float8" else compute,
        compute=compute,
        targets=spec.lora.targets,
        rank=spec.lora.greatest_rank,
        dropout=spec.lora.dropout > 0,
        sequence_length=training.sequence_length,
        micro_batch_size=training.micro_batch_size,
        micro_batches=math.ceil((training.global_batch_size or together) / together),
        float8_products=training.frozen_arithmetic != "precision",
        float8_head=training.frozen_arithmetic == "float8WithHead",
        recompute=training.recompute or ("selective" if workers.gpus else "none"),
    )


def _conversion() -> Demand:
    """Return what a process of the converter needs of its host; nobody says how much that has."""
    return Demand(
        subject="Conversion",
        parts={"interpreter, torch and bands": CONVERSION_BYTES},
        place="host memory of each process",
        reason=FitsReason.CONVERSION_MEMORY,
    )


def _volume(spec: FineTuneJobSpec, model: Architecture) -> Demand:
    exported = exported_weights(spec, model)
    parts = volume_bytes(
        model,
        export=exported.dtype if exported else None,
        targets=spec.lora.targets,
        rank=spec.lora.greatest_rank,
        checkpoints=spec.training.checkpoint.keep + (spec.training.select == "best"),
        adapters=spec.training.checkpoint.adapters,
    )
    size = spec.storage.size
    return Demand(
        subject="Storage",
        parts=parts,
        place="the volume",
        available=None if size is None else parse_bytes(size),
        reason=FitsReason.STORAGE,
    )


def _serving(spec: FineTuneJobSpec, model: Architecture, config: Config) -> tuple[Demand, ...]:
    weights = exported_weights(spec, model)
    if spec.deployment is None or weights is None:
        return ()
    return serving_demands(spec.deployment, weights, config)


def evaluated_weights(spec: FineTuneJobSpec, told: Architecture | None = None) -> tuple[Weights, ...]:
    """Return the weights that an evaluation loads, the base's and the merged model's; none where unknown."""
    merged = exported_weights(spec, told)
    return (replace(merged, dtype=merged.model.dtype), merged) if merged else ()


def _evaluation(spec: FineTuneJobSpec, model: Architecture, config: Config) -> tuple[Demand, ...]:
    """Return what the larger of both models needs: they are loaded one after the other."""
    weights = evaluated_weights(spec, model)
    if spec.evaluation is None or not weights:
        return ()
    largest = max(weights, key=lambda each: checkpoint_bytes(each.model, each.dtype))
    return tuple(
        replace(
            demand,
            subject=demand.subject.replace("Serving", "Evaluation").replace("A replica", "An evaluation"),
            reason=_OF_EVALUATION.get(demand.reason, demand.reason),
        )
        for demand in serving_demands(evaluation_server(spec), largest, config)
    )


_OF_EVALUATION = {FitsReason.SERVING_MEMORY: FitsReason.EVALUATION_MEMORY}


def _evaluation_changes(spec: FineTuneJobSpec, config: Config, told: Architecture | None) -> Sequence[Change]:
    weights, server = exported_weights(spec, told), evaluation_server(spec)
    assert weights is not None
    length, *_ = serving_changes(server, weights, config.gpus_per_node, "evaluation.")
    gpus = doublings(server.tensor_parallel_size, config.gpus_per_node)
    return (
        length,
        Change(path="export.dtype", values=["float8"]),
        Change(path="evaluation.gpus", values=gpus),
    )


def _changes(
    spec: FineTuneJobSpec, exceeded: Demand, config: Config, told: Architecture | None
) -> Sequence[Change]:
    """Return what can be changed, the nearest first."""
    match exceeded.reason:
        case FitsReason.TOO_MANY_GPUS if spec.workers.gpus > config.gpus_per_node:
            return (Change(path="workers.gpusPerNode", values=halvings(spec.workers.gpus)),)
        case FitsReason.TOO_MANY_GPUS if spec.evaluation and spec.evaluation.gpus:
            return (Change(path="evaluation.gpus", values=halvings(spec.evaluation.gpus)),)
        case FitsReason.TOO_MANY_GPUS:
            assert spec.deployment is not None
            return fewer_gpus(spec.deployment, "deployment.")
        case FitsReason.STORAGE:
            return (Change(path="storage.size", values=[f"{math.ceil(exceeded.needed * _ROOM / 1e9)}G"]),)
        case FitsReason.EVALUATION_MEMORY:
            return _evaluation_changes(spec, config, told)
        case FitsReason.SERVING_MEMORY:
            weights = exported_weights(spec, told)
            assert spec.deployment is not None
            assert weights is not None
            to_float8 = Change(path="export.dtype", values=["float8"])
            length, *gpus = serving_changes(spec.deployment, weights, config.gpus_per_node, "deployment.")
            return (length, to_float8, *gpus)
        case _:
            return _training_changes(spec, config.gpus_per_node)


def _training_changes(spec: FineTuneJobSpec, most_gpus: int) -> Sequence[Change]:
    training, workers = spec.training, spec.workers
    degrees = training.parallelism
    return (
        Change(path="training.precision", values=["bfloat16"]),
        Change(path="training.parallelism.frozenWeights", values=["sharded"]),
        Change(path="training.recompute", values=["selective", "full"]),
        Change(path="training.frozenDtype", values=["float8"]),
        Change(path="training.microBatchSize", values=halvings(training.micro_batch_size)),
        Change(path="training.parallelism.replicate", values=halvings(degrees.replicate)),
        Change(path="training.parallelism.expert", values=doublings(degrees.expert, workers.world_size)),
        Change(path="training.parallelism.tensor", values=doublings(degrees.tensor, most_gpus)),
        Change(path="workers.gpusPerNode", values=doublings(workers.gpus, most_gpus)),
        Change(path="workers.nodes", values=doublings(workers.nodes, _MOST_NODES)),
        Change(path="training.sequenceLength", values=halvings(training.sequence_length)),
    )
