"""What vLLM needs to start on GPUs in an image without a CUDA compiler, as images/server is.

FlashInfer's kernels it leaves out by itself where it finds no nvcc. Two others it chooses without looking for
one: DeepGEMM's (vLLM's utils/deep_gemm.py), by which an FP8 model ended at the load on an H200, and
FlashInfer's sampler (v1/sample/ops/topk_topp_sampler.py), which with a compiler was not built within 90 s.
Without both, linear layers are CUTLASS' and experts Triton's: bench/results/2026-11-28-serve-gpu.json.
"""

from finetune_operator.core.objects import Manifest
from finetune_operator.core.pod import env_var


def gpu_env() -> tuple[Manifest, ...]:
    """Return the variables; `podOverrides.env` wins, for an image that has a compiler or the kernels."""
    return (env_var("VLLM_USE_DEEP_GEMM", 0), env_var("VLLM_USE_FLASHINFER_SAMPLER", 0))
