"""What vLLM needs to start on GPUs in an image without a CUDA compiler, as images/server is.

FlashInfer's kernels it leaves out by itself where it finds no nvcc. Three others it chooses without looking
for one: DeepGEMM's (vLLM's utils/deep_gemm.py), by which an FP8 model ended at the load on an H200;
FlashInfer's sampler (v1/sample/ops/topk_topp_sampler.py), which with a compiler was not built within 90 s;
and FlashInfer's all-reduce (distributed/device_communicators/cuda_communicator.py), by which a server with
TP=2 ended at its first batch. Without them linear layers are CUTLASS', experts Triton's, and all-reduces
vLLM's own: bench/results/2026-11-28-serve-gpu.json and 2026-11-28-serve-gpus-tensor.json.
"""

from finetune_operator.core.objects import Manifest
from finetune_operator.core.pod import env_var


def gpu_env() -> tuple[Manifest, ...]:
    """Return the variables; `podOverrides.env` wins, for an image that has a compiler or the kernels."""
    names = ("VLLM_USE_DEEP_GEMM", "VLLM_USE_FLASHINFER_SAMPLER", "VLLM_ALLREDUCE_USE_FLASHINFER")
    return tuple(env_var(name, 0) for name in names)
