"""One measurement of transformers + PEFT at full width; prints a line of JSON. `full_width.py` starts it."""

import argparse
import json
import os
import time
from pathlib import Path
from statistics import median

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import DeepseekV3ForCausalLM

from full_width_data import batch

WARM_UP = 3
TARGETS = ["q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"]


def main() -> None:
    arguments = _parse_arguments()
    model = _model(arguments)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=arguments.rate, weight_decay=0.0, fused=True)
    seconds, losses = [], []
    drawn = [
        batch(step, batch_size=arguments.batch, length=arguments.length) for step in range(arguments.steps)
    ]
    for step, host_tokens in enumerate(drawn):
        torch.cuda.synchronize()
        start = time.perf_counter()
        tokens = host_tokens.cuda()
        with torch.autocast("cuda", torch.bfloat16, enabled=arguments.adapters == "float32"):
            loss = model(
                input_ids=tokens[:, :-1], labels=tokens[:, 1:], shift_labels=tokens[:, 1:].contiguous()
            ).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
        losses.append(round(loss.item(), 5))
        if step + 1 == WARM_UP:
            torch.cuda.reset_peak_memory_stats()
    timed = seconds[WARM_UP:]
    result = {
        "tokensPerSecond": round(arguments.batch * arguments.length / median(timed)),
        "medianSeconds": round(median(timed), 4),
        "leastSeconds": round(min(timed), 4),
        "peakGiB": round(torch.cuda.max_memory_allocated() / 2**30, 2),
        "seconds": [round(second, 4) for second in seconds],
        "losses": losses,
        "torch": torch.__version__,
    }
    print("RESULT", json.dumps(vars(arguments) | result, default=str), flush=True)
    os._exit(0)


def _model(arguments: argparse.Namespace) -> PeftModel:
    model = DeepseekV3ForCausalLM.from_pretrained(
        arguments.base,
        dtype=torch.bfloat16,
        device_map={"": 0},
        attn_implementation="sdpa",
        experts_implementation="grouped_mm",
    )
    if arguments.recompute == "full":
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    config = LoraConfig(r=16, lora_alpha=32, target_modules=TARGETS)
    tuned = get_peft_model(model, config, autocast_adapter_dtype=arguments.adapters == "float32")
    if arguments.first_values:
        first = load_file(arguments.first_values)
        for name, parameter in tuned.named_parameters():
            if parameter.requires_grad:
                parameter.data.copy_(first.pop(name))
        assert not first, f"PEFT has no {sorted(first)}"
    if arguments.compile:
        for layer in model.model.layers:
            layer.compile()
    return tuned.train()


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=13)
    parser.add_argument("--recompute", choices=["none", "full"], default="none")
    parser.add_argument("--adapters", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--first-values", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
