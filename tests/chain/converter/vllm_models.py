"""Run by the server's interpreter: loads models one after the other into vLLM, which takes long to import.

stdin: {"models": [{"folder", "dtype"}], "prompts", "new_tokens"}. The last line of stdout: of each model the
greedy tokens that follow each prompt, or the error that it does not load by.
"""

import gc
import json
import sys
from typing import Any

from vllm import LLM, SamplingParams
from vllm.distributed.parallel_state import cleanup_dist_env_and_memory


def answers(model: dict[str, str], prompts: list[list[int]], new_tokens: int) -> list[list[int]]:
    # The backend for CPUs with AMX, which vLLM would prefer there, knows no float32.
    options = {"max_model_len": 512, "enforce_eager": True, "attention_backend": "CPU_MLA"}
    # As the operator's servers on CPUs (serving/cpu.py).
    rope = {"custom_ops": ["-rotary_embedding"]}
    llm = LLM(model["folder"], dtype=model["dtype"], compilation_config=rope, **options)
    outputs = llm.generate(
        [{"prompt_token_ids": prompt} for prompt in prompts],
        SamplingParams(temperature=0, max_tokens=new_tokens),
    )
    return [list(output.outputs[0].token_ids) for output in outputs]


def main() -> None:
    order: dict[str, Any] = json.load(sys.stdin)
    found: list[Any] = []
    for model in order["models"]:
        try:
            found.append(answers(model, order["prompts"], order["new_tokens"]))
        except Exception as error:
            found.append(str(error))
        gc.collect()
        cleanup_dist_env_and_memory()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
