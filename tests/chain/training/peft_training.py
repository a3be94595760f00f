"""What TRAINER_SETTINGS asks of the trainer, by transformers + PEFT: same first values, data and order."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftModel, get_peft_model
from synthetic_data import sequence
from transformers import DeepseekV3ForCausalLM

from finetune_trainer.model.converter import LoRAConverter
from finetune_trainer.model.flavors import build_model_config
from finetune_trainer.model.lora.initialize import initialize_adapters
from finetune_trainer.model.lora.settings import LoRASettings
from finetune_trainer.model.names import CheckpointNames

# Tokens, positions and labels, int64 [length] each.
Row = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
BATCH, LENGTH, RATE, SEED = 4, 128, 2e-3, 7
SETTINGS = LoRASettings(rank=16, alpha=32.0)
TRAINER_SETTINGS = {
    "lora.targets": ["attention"],
    "training.sequenceLength": LENGTH,
    "training.microBatchSize": 2,
    "training.globalBatchSize": BATCH,
    "training.learningRate": RATE,
    "training.schedule": "constant",
    "training.warmupSteps": 0,
    "training.seed": SEED,
}


def synthetic_rows(steps: int) -> list[Row]:
    """What the trainer's synthetic data loader gives in so many steps."""
    return [sequence(index, LENGTH) for index in range(steps * BATCH)]


def peft_losses(
    base: Path,
    rows: Sequence[Row],
    seed: int = SEED,
    dtype: torch.dtype = torch.float32,
    *,
    dora: bool = False,
) -> list[float]:
    """The losses of training on `rows`, BATCH of them a step, by transformers, PEFT and torch's AdamW."""
    model = _peft_model(base, seed, dtype, dora)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.0)
    losses = []
    for start in range(0, len(rows), BATCH):
        loss = packed_loss(model, rows[start : start + BATCH])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def packed_loss(model: torch.nn.Module, rows: Sequence[Row]) -> torch.Tensor:
    """The mean over the labels that count."""
    tokens, positions, labels = (torch.stack(parts) for parts in zip(*rows, strict=True))
    mask = packed_mask(positions).to(model.dtype)
    logits = model(input_ids=tokens, position_ids=positions, attention_mask=mask).logits
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)


def _peft_model(base: Path, seed: int, dtype: torch.dtype, dora: bool) -> PeftModel:
    # The grouped product that transformers else takes for experts knows no float64.
    implementation = "eager" if dtype == torch.float64 else "grouped_mm"
    model = DeepseekV3ForCausalLM.from_pretrained(
        base, dtype=dtype, attn_implementation="sdpa", experts_implementation=implementation
    )
    targets = ["q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"]
    config = LoraConfig(r=SETTINGS.rank, lora_alpha=SETTINGS.alpha, target_modules=targets, use_dora=dora)
    tuned = get_peft_model(model, config)
    first = first_values(seed)
    for name, parameter in tuned.named_parameters():
        if parameter.requires_grad and "lora_magnitude" not in name:  # which is the norm of the base's rows
            parameter.data.copy_(first.pop(name))
    assert not first, f"PEFT has no {sorted(first)}"
    return tuned.train()


def first_values(seed: int) -> dict[str, torch.Tensor]:
    """The trainer's first values of the adapters, by PEFT's names while it trains."""
    config = build_model_config("tiny_lora", device="cpu")
    config = (
        LoRAConverter.Config(lora=SETTINGS, targets=("attention",), base_dtype="float32")
        .build()
        .convert(config)
    )
    model, names = config.build(), CheckpointNames.of(config)
    initialize_adapters(model, seed=seed)
    values = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            ((module, side),) = names.adapter_modules(name, num_experts=0)
            values[f"base_model.model.{module}.{side}.default.weight"] = parameter.detach()
    return values


def packed_mask(positions: torch.Tensor) -> torch.Tensor:
    """What transformers adds to the scores, (batch, 1, L, L): 0 within a document's past, else the least."""
    document = (positions == 0).cumsum(1)
    length = positions.shape[1]
    seen = (document[:, :, None] == document[:, None, :]) & torch.ones(
        length, length, dtype=torch.bool
    ).tril()
    return torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min).unsqueeze(1)
