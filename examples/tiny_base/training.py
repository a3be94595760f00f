"""A plain training loop: AdamW, a cosine schedule, and DeepSeek-V3's balancing of experts without a loss."""

import math
import random
from collections.abc import Callable, Iterator

import torch
from transformers import DeepseekV3ForCausalLM
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3TopkRouter

BATCH, SEQUENCE = 8, 128
PEAK_LEARNING_RATE, WARM_UP = 3e-3, 20
BIAS_STEP = 0.001


def train(
    model: DeepseekV3ForCausalLM,
    documents: list[list[int]],
    steps: int,
    report: Callable[[int, float], None],
) -> None:
    """Train on the documents' tokens; `report` gets each step and its loss."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=PEAK_LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _learning_rate(step, steps))
    routers = [module for module in model.modules() if isinstance(module, DeepseekV3TopkRouter)]
    loads = [_record_load(router) for router in routers]
    model.train()
    for step, (tokens, positions) in zip(range(1, steps + 1), _batches(documents), strict=False):
        labels = tokens.masked_fill(positions == 0, -100)  # no document foretells the next one
        loss = model(input_ids=tokens, position_ids=positions, labels=labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        for router, load in zip(routers, loads, strict=True):
            _balance(router, load)
        report(step, loss.item())
    model.eval()


def _learning_rate(step: int, steps: int) -> float:
    if step < WARM_UP:
        return (step + 1) / WARM_UP
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - WARM_UP) / max(1, steps - WARM_UP)))


def _batches(documents: list[list[int]]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Tokens and positions [BATCH, SEQUENCE] without end; every pass packs the documents in another order.

    Positions start anew with each document: by them transformers keeps attention inside the document.
    """
    generator = random.Random(0)
    while True:
        order = generator.sample(documents, len(documents))
        tokens = torch.tensor([token for document in order for token in document])
        positions = torch.tensor([position for document in order for position in range(len(document))])
        size = BATCH * SEQUENCE
        for start in range(0, len(tokens) - size + 1, size):
            chunk = slice(start, start + size)
            yield tokens[chunk].view(BATCH, SEQUENCE), positions[chunk].view(BATCH, SEQUENCE)


def _record_load(router: DeepseekV3TopkRouter) -> torch.Tensor:
    """A tensor [experts] that holds how many tokens of the last forward pass each expert got."""
    load = torch.zeros(router.num_experts)

    def count(
        _module: object, _inputs: object, output: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    ) -> None:
        load.copy_(torch.bincount(output[2].flatten(), minlength=router.num_experts))

    router.register_forward_hook(count)
    return load


def _balance(router: DeepseekV3TopkRouter, load: torch.Tensor) -> None:
    """Raise the bias of experts with less than their share (DeepSeek-V3 report, section 2.1.2)."""
    step = torch.sign(load.mean() - load) * BIAS_STEP
    router.e_score_correction_bias += step - step.mean()
