"""torchtitan's keys, a table for each thing that becomes of one.

Keys are those of torchtitan 0.3, dotted (`training.seq_len`); ALIASES brings older ones to them.
"""

from collections.abc import Mapping
from typing import Any

ALIASES = {
    "job.dump_folder": "dump_folder",
    "job.description": "description",
    "job.print_args": "debug.print_config",
    "job.print_config": "debug.print_config",
    "model.name": "model_spec.name",
    "model.flavor": "model_spec.flavor",
    "model.hf_assets_path": "hf_assets_path",
    "model.tokenizer_path": "hf_assets_path",
    "model.finetune_lora_rank": "lora.rank",
    "model.finetune_lora_alpha": "lora.alpha",
    "training.dataset": "dataloader.dataset",
    "training.dataset_path": "dataloader.dataset_path",
    "training.batch_size": "training.local_batch_size",
    "training.seed": "debug.seed",
    "training.deterministic": "debug.deterministic",
    "training.compile": "compile.enable",
    "training.warmup_steps": "lr_scheduler.warmup_steps",
    "lr_scheduler.lr_min": "lr_scheduler.min_lr_factor",
    "checkpoint.enable_checkpoint": "checkpoint.enable",
    "experimental.context_parallel_degree": "parallelism.context_parallel_degree",
    "experimental.pipeline_parallel_degree": "parallelism.pipeline_parallel_degree",
    "training.tensor_parallel_degree": "parallelism.tensor_parallel_degree",
    "training.data_parallel_shard_degree": "parallelism.data_parallel_shard_degree",
    "training.data_parallel_replicate_degree": "parallelism.data_parallel_replicate_degree",
    "profiling.enable_profiling": "profiler.enable_profiling",
    "profiling.profile_freq": "profiler.profile_freq",
    "validation.enable": "validator.enable",
}

FIELDS = {
    "training.steps": "training.steps",
    "optimizer.lr": "training.learningRate",
    "optimizer.weight_decay": "training.weightDecay",
    "training.max_norm": "training.maxGradNorm",
    "lr_scheduler.warmup_steps": "training.warmupSteps",
    "lr_scheduler.decay_type": "training.schedule",
    "training.seq_len": "training.sequenceLength",
    "training.local_batch_size": "training.microBatchSize",
    "training.global_batch_size": "training.globalBatchSize",
    "training.mixed_precision_param": "training.precision",
    "debug.seed": "training.seed",
    "activation_checkpoint.mode": "training.recompute",
    "checkpoint.interval": "training.checkpoint.interval",
    "checkpoint.keep_latest_k": "training.checkpoint.keep",
    "checkpoint.export_dtype": "export.dtype",
    "parallelism.data_parallel_shard_degree": "training.parallelism.data",
    "parallelism.data_parallel_replicate_degree": "training.parallelism.replicate",
    "parallelism.tensor_parallel_degree": "training.parallelism.tensor",
    "parallelism.expert_parallel_degree": "training.parallelism.expert",
    "parallelism.pipeline_parallel_degree": "training.parallelism.pipeline",
    "parallelism.context_parallel_degree": "training.parallelism.context",
    "lora.rank": "lora.rank",
    "lora.alpha": "lora.alpha",
    "lora.dropout": "lora.dropout",
    "lora.target_modules": "lora.targets",
}
"""Each to the field of the spec that means the same."""

OMITTED: Mapping[str, tuple[Any, ...]] = {
    "training.global_batch_size": (-1,),
    "parallelism.data_parallel_shard_degree": (-1,),
    "parallelism.data_parallel_replicate_degree": (1,),
    "parallelism.tensor_parallel_degree": (1,),
    "parallelism.expert_parallel_degree": (1,),
    "parallelism.pipeline_parallel_degree": (1,),
    "parallelism.context_parallel_degree": (1,),
    "training.mixed_precision_param": ("bfloat16",),
    "checkpoint.keep_latest_k": (None,),
    "debug.seed": (None,),
    "lora.target_modules": (None,),
    "lora.dropout": (0, 0.0),
}
"""Values that mean what the spec means by leaving its field out."""

DEFAULTS: Mapping[str, Any] = {
    "training.steps": 10000,
    "optimizer.lr": 8e-4,
    "optimizer.weight_decay": 0.1,
    "training.max_norm": 1.0,
    "lr_scheduler.warmup_steps": 200,
    "lr_scheduler.decay_type": "linear",
    "training.seq_len": 2048,
    "training.local_batch_size": 8,
    "checkpoint.interval": 500,
    "checkpoint.keep_latest_k": 10,
    "activation_checkpoint.mode": "selective",
}
"""What torchtitan (0.2 and 0.3) takes where a file leaves a key out, and the spec takes something else."""

OVERRIDES: Mapping[str, tuple[Any, ...]] = {
    "lr_scheduler.decay_ratio": (None,),
    "lr_scheduler.min_lr_factor": (0, 0.0),
    "lr_scheduler.total_steps": (None,),
    "metrics.enable_tensorboard": (False,),
    "metrics.enable_wandb": (False,),
    "profiler.enable_profiling": (False,),
    "profiler.profile_freq": (10,),
    "debug.deterministic": (False,),
    "debug.moe_force_load_balance": (False,),
    "training.gc_freq": (50,),
}
"""Carried as they are in training.overrides, but for the values after them, which are torchtitan's own."""

NO_COUNTERPART: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "dump_folder": ((), "the run's folder is runs/NAMESPACE/NAME/RUN in the volume"),
    "checkpoint.folder": ((), "checkpoints are in checkpoints/ of the run's folder"),
    "checkpoint.enable": ((True,), "checkpoints are always written: a run that failed goes on from one"),
    "checkpoint.last_save_model_only": ((True, False), ""),
    "checkpoint.last_save_in_hf": ((), "the merge stage writes a Hugging Face model, and the gate proves it"),
    "checkpoint.async_mode": ((), "checkpoints are always written while the training goes on"),
    "checkpoint.load_step": ((-1,), "a run goes on from its newest whole checkpoint"),
    "checkpoint.initial_load_in_hf": ((True,), "the base is always read in Hugging Face's format"),
    "optimizer.name": (("AdamW",), "AdamW is what trains here"),
    "optimizer.beta1": ((0.9,), "AdamW's betas are 0.9 and 0.999"),
    "optimizer.beta2": ((0.999,), "AdamW's betas are 0.9 and 0.999"),
    "optimizer.eps": ((1e-8,), "AdamW's epsilon is 1e-8"),
    "parallelism.expert_tensor_parallel_degree": ((1,), "a routed expert is whole on its process"),
    "training.enable_cpu_offload": ((False,), "nothing is offloaded to the host: see docs/guides/fits.md"),
    "model.converters": (
        ([], ["lora"]),
        "a base in FP8: training.frozenDtype and training.frozenArithmetic: float8",
    ),
    "validator.enable": (
        (False,),
        "give dataset.validationShare; training.validation says how often the loss is measured",
    ),
    "model.print_after_conversion": ((True, False), ""),
    "activation_checkpoint.selective_ac_option": (
        ("op", "2"),
        "selective is torchtitan's choice by operation",
    ),
    "override.imports": (([],), "no code of others is imported"),
}
"""Each with the values that lose nothing, and what takes its place."""

CHANGES_NOTHING = (
    "description", "debug.print_config", "metrics.", "profiling.", "profiler.", "comm.", "compile.",
    "checkpoint.", "quantize.", "float8.", "mx.", "tokenizer.", "memory_estimation.", "experimental.custom",
    "parallelism.fsdp_reshard_after_forward", "parallelism.enable_", "parallelism.pipeline_parallel_",
    "parallelism.context_parallel_", "parallelism.module_fqns_per_model_part", "parallelism.spmd_backend",
    "parallelism.disable_loss_parallel", "activation_checkpoint.", "training.gc_", "training.dtype",
    "training.mixed_precision_reduce", "training.disable_cuda_graphs", "dataloader.", "validator.",
    "debug.", "loss.", "optimizer.implementation", "optimizer.early_step_in_backward", "fault_tolerance.",
    "model_spec.", "job.", "validation.",
)  # fmt: skip
"""Beginnings of keys that say how torchtitan works, reports or saves, and not what comes out."""
