"""Whether the processes can be divided as the job asks, and torchtitan's configuration for it."""

from torchtitan.config import ParallelismConfig
from torchtitan.models.common.linear import Linear
from torchtitan.models.common.moe import GroupedExperts, MoE
from torchtitan.models.deepseek_v3 import DeepSeekV3Model

from finetune_trainer.contract.failure import ConfigurationError, Reason
from finetune_trainer.contract.run_file import RunFile


def data_parallel_degree(run: RunFile) -> int:
    """How many different micro-batches are worked on at once: the processes that nothing else divides."""
    asked = run.training.parallelism
    return run.workers.world_size // (asked.tensor * asked.pipeline * asked.context)


def parallelism_config(run: RunFile) -> ParallelismConfig:
    asked = run.training.parallelism
    return ParallelismConfig(
        data_parallel_replicate_degree=asked.replicate,
        data_parallel_shard_degree=data_parallel_degree(run) // asked.replicate,
        tensor_parallel_degree=asked.tensor,
        expert_parallel_degree=asked.expert,
        pipeline_parallel_degree=asked.pipeline,
        context_parallel_degree=asked.context,
        # All micro-batches of a step pass through the pipeline together.
        pipeline_parallel_microbatch_size=run.training.micro_batch_size,
    )


def batch_sizes(run: RunFile) -> dict[str, int]:
    """torchtitan's local and global batch sizes, in sequences."""
    training, data = run.training, data_parallel_degree(run)
    whole = training.global_batch_size or training.micro_batch_size * data
    pipelined = training.parallelism.pipeline > 1
    return {
        "local_batch_size": whole // data if pipelined else training.micro_batch_size,
        "global_batch_size": whole,
    }


def check_parallelism(run: RunFile, model: DeepSeekV3Model.Config) -> None:
    """Raise ConfigurationError, naming the field, if the degrees fit neither processes, model nor batch."""
    _check_processes(run)
    _check_model(run, model)
    _check_batch(run)
    _check_float8(run, model)
    if run.workers.device == "cpu":
        _check_cpu(run)


def _check_processes(run: RunFile) -> None:
    asked, processes = run.training.parallelism, run.workers.world_size
    divided = asked.replicate * asked.tensor * asked.pipeline * asked.context
    if processes % divided:
        raise _wrong(
            "replicate" if asked.replicate > 1 else "tensor",
            f"replicate x tensor x pipeline x context = {divided} does not divide {processes} processes",
        )
    data = processes // divided
    if asked.data not in (None, data):
        raise _wrong("data", f"is {asked.data}, but {data} of {processes} processes are left for it")
    inner = data * asked.context * asked.tensor
    if inner % asked.expert:
        raise _wrong("expert", f"{asked.expert} does not divide data x context x tensor = {inner}")


def _check_model(run: RunFile, model: DeepSeekV3Model.Config) -> None:
    asked = run.training.parallelism
    heads = model.layers[0].attention.n_heads
    if heads % asked.tensor:
        raise _wrong("tensor", f"{asked.tensor} does not divide the model's {heads} attention heads")
    for _, moe, _, _ in model.traverse(MoE.Config):
        if moe.num_experts % asked.expert:
            raise _wrong("expert", f"{asked.expert} does not divide the model's {moe.num_experts} experts")
    if asked.pipeline > len(model.layers):
        raise _wrong(
            "pipeline", f"{asked.pipeline} stages are more than the model's {len(model.layers)} layers"
        )


def _check_batch(run: RunFile) -> None:
    training, data = run.training, data_parallel_degree(run)
    together = training.micro_batch_size * data
    if (training.global_batch_size or together) % together:
        raise ConfigurationError(
            f"training.globalBatchSize: {training.global_batch_size} is no multiple of "
            f"microBatchSize x data-parallel degree = {training.micro_batch_size} x {data}",
            Reason.CONFIGURATION_INVALID,
            remedy=f"Use a multiple of {together}",
        )


def _check_float8(run: RunFile, model: DeepSeekV3Model.Config) -> None:
    """Every rank's part of a weight has to begin with a scale of its own, so that parts are of one size."""
    asked = run.training.parallelism
    if run.training.frozen_dtype != "float8":
        return
    sizes = {config.hidden_dim for _, config, _, _ in model.traverse(GroupedExperts.Config)}
    for fqn, config, _, _ in model.traverse(Linear.Config):
        if fqn.endswith((".feed_forward.w1", ".shared_experts.w1")):
            sizes.add(config.out_features)
    for size in sorted(sizes):
        if size % asked.tensor:
            raise _wrong("tensor", f"{asked.tensor} does not divide the model's hidden size {size} in FP8")


def _check_cpu(run: RunFile) -> None:
    if run.training.parallelism.context > 1:
        raise _wrong("context", "needs flex attention, which has no backward pass on CPUs")


def _wrong(field: str, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"training.parallelism.{field}: {problem}",
        Reason.PARALLELISM_INVALID,
        remedy="Change it, or workers.nodes and the processes a node",
    )
