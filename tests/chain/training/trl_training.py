"""Preference tuning by TRL's DPOTrainer: same first values, pairs and order."""

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from peft_training import SETTINGS, first_values
from preference_pairs import SEQUENCES, Row
from transformers import AutoTokenizer, DeepseekV3ForCausalLM
from trl import DPOConfig, DPOTrainer

TARGETS = ["q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"]
Told = list[dict[str, float]]


def trl_steps(
    base: Path, rows: list[Row], *, seed: int, start: Path | None = None, folder: Path, **settings: Any
) -> Told:
    """What TRL logs of each step, of as many pairs as fit into a step's sequences.

    start: an adapter to begin from.
    """
    model = DeepseekV3ForCausalLM.from_pretrained(
        base, dtype=torch.float32, attn_implementation="sdpa", experts_implementation="grouped_mm"
    )
    pairs = 2 * SEQUENCES
    trainer = DPOTrainer(
        model=PeftModel.from_pretrained(model, start, is_trainable=True) if start else model,
        args=DPOConfig(
            output_dir=str(folder),
            per_device_train_batch_size=pairs,
            max_steps=len(rows) // pairs,
            learning_rate=2e-3,
            lr_scheduler_type="constant",
            train_sampling_strategy="sequential",
            optim="adamw_torch",
            max_length=None,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            disable_tqdm=True,
            **settings,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(base),
        peft_config=None if start else _adapters(),
    )
    if not start:
        _begin_alike(trainer.model, seed)
    trainer.train()
    return [entry for entry in trainer.state.log_history if "rewards/margins" in entry]


def _adapters() -> LoraConfig:
    return LoraConfig(r=SETTINGS.rank, lora_alpha=SETTINGS.alpha, target_modules=TARGETS)


def _begin_alike(model: Any, seed: int) -> None:
    first = first_values(seed)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.data.copy_(first.pop(name))
    assert not first
