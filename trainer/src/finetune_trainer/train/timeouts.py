"""How long a rank waits for another in a collective before it gives up.

torchtitan waits 300 s up to the first step's end, 100 s later. A rank that compiles anew, or reads its part
of the base from a busy volume, takes longer, and would end the run on all. A process that dies is seen
at once, whatever is waited for: these limits are for ranks that hang.
"""

from torchtitan.config import CommConfig
from torchtitan.models.common.linear import Linear
from torchtitan.models.common.moe import GroupedExperts, MoE
from torchtitan.models.deepseek_v3 import DeepSeekV3Model

from finetune_trainer.contract.run_file import RunFile
from finetune_trainer.train.parallelism import batch_sizes

SECONDS_TO_COMPILE = 900
"""One rank may compile, at the first step or at a new shape's, while the others wait."""
SLOWEST_READ = 100e6
"""Bytes of the base a second and rank: eight ranks share a node's network file system."""
SLOWEST_ARITHMETIC = {"cuda": 2e13, "cpu": 5e8}
"""FLOP a second and rank: a twentieth of what an H100 does in bfloat16; a core that others use too."""
PASSES = 4
"""Forward, again where activations are recomputed, and the gradient of what goes in, at most twice."""


def comm_config(run: RunFile, model: DeepSeekV3Model.Config) -> CommConfig:
    """torchtitan's settings for the processes of `run`."""
    step = slowest_work(run, model)
    copies = run.training.parallelism.replicate
    read = copies * base_bytes(run, model) / run.workers.world_size / SLOWEST_READ
    on_cpu = run.workers.device == "cpu"
    return CommConfig(
        init_timeout_seconds=int(SECONDS_TO_COMPILE + step + read),
        train_timeout_seconds=int(SECONDS_TO_COMPILE + step),
        trace_buf_size=0 if on_cpu else CommConfig().trace_buf_size,
    )


def slowest_work(run: RunFile, model: DeepSeekV3Model.Config) -> float:
    """Seconds that a rank computes, at the most, while others wait for it.

    FSDP's ranks meet in every layer of every micro-batch; a pipeline's stages wait for all of a step.
    """
    asked, length = run.training.parallelism, run.training.sequence_length
    pipelined = asked.pipeline > 1
    sequences = batch_sizes(run)["local_batch_size"] if pipelined else run.training.micro_batch_size
    divided = asked.tensor * asked.context * asked.pipeline
    work = PASSES * sequences * length * flops_a_token(model, length) / divided
    return work / SLOWEST_ARITHMETIC[run.workers.device]


def flops_a_token(model: DeepSeekV3Model.Config, length: int) -> float:
    """Of a forward pass: two a parameter that is at work, and attention to `length` tokens before."""
    products = sum(
        2 * config.in_features * config.out_features for _, config, _, _ in model.traverse(Linear.Config)
    )
    routed = sum(_routed_flops(moe) for _, moe, _, _ in model.traverse(MoE.Config))
    attention = model.layers[0].attention
    heads = attention.qk_nope_head_dim + attention.qk_rope_head_dim + attention.v_head_dim
    return products + routed + len(model.layers) * 2 * length * attention.n_heads * heads


def base_bytes(run: RunFile, model: DeepSeekV3Model.Config) -> float:
    """What the ranks of a copy read together."""
    linear = sum(
        config.in_features * config.out_features for _, config, _, _ in model.traverse(Linear.Config)
    )
    experts = sum(
        3 * config.num_experts * config.dim * config.hidden_dim
        for _, config, _, _ in model.traverse(GroupedExperts.Config)
    )
    size = {"float8": 1, "precision": 2 if run.training.precision == "bfloat16" else 4}
    return size[run.training.frozen_dtype] * (linear + experts + model.vocab_size * model.dim)


def _routed_flops(moe: MoE.Config) -> float:
    experts = moe.routed_experts.inner_experts
    return 2 * moe.router.top_k * 3 * experts.dim * experts.hidden_dim
