"""Whether vLLM applies all of an adapter that it serves beside a model, and not merged into it."""

import re
from pathlib import Path

from finetune_converter.adapter.adapter import WEIGHTS, missing_adapter
from finetune_converter.failure import Failure, Reason
from finetune_converter.model_files.tensor_file import TensorFile

_DORA = re.compile(r".+\.lora_magnitude_vector\b.*")
# Its decode multiplies by W_UK and W_UV, which are taken out of kv_b_proj's weight once, when the model is
# loaded: LoRA's part of it is never applied there, without a word (vllm issue 48974; read in vLLM 0.33.0,
# model_executor/layers/attention/mla_attention.py, process_weights_after_loading).
_LEFT_OUT = re.compile(r".+\.(kv_b_proj)\.lora_[AB]\b.*")


def check_served(adapter: Path) -> None:
    """Raises Failure(AdapterInvalid) naming a tensor that vLLM leaves out. Reads the file's header alone."""
    if not (adapter / WEIGHTS).is_file():
        raise missing_adapter(adapter)
    file = TensorFile(adapter / WEIGHTS)
    try:
        for name in file.header.tensors:
            if _DORA.fullmatch(name):
                raise Failure(
                    f"{file.path}: tensor {name!r}: vLLM does not serve DoRA unmerged",
                    Reason.ADAPTER_INVALID,
                    "Serve the merged model, or train without lora.dora",
                )
            if found := _LEFT_OUT.fullmatch(name):
                raise Failure(
                    f"{file.path}: tensor {name!r}: vLLM applies no LoRA to {found[1]}: served unmerged, the "
                    "adapter is not the model that was trained",
                    Reason.ADAPTER_INVALID,
                    "Serve the merged model, or train lora.targets [served_attention]",
                )
    finally:
        file.close()
