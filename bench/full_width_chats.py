"""Chats at realistic lengths, packed as prepare packs them: documents one after the other, prompts masked."""

from statistics import median
from typing import Any

import torch
from torchtitan.components.loss import IGNORE_INDEX

from finetune_trainer.data.packing import best_fit
from full_width_data import batch
from packing import DISTRIBUTIONS

CHAT_WARM_UP, CHAT_STEPS = 6, 16
DRAWN = 4096
PROMPT = 0.5
"""The share of a chat that is not trained."""

Batch = tuple[dict[str, torch.Tensor], torch.Tensor]


def drawn_chats(distribution: str, *, batch_size: int, length: int) -> list[Batch]:
    """Inputs and labels (batch_size, length) of CHAT_STEPS steps; what a sequence has left is padding."""
    lengths = DISTRIBUTIONS[distribution]()[:DRAWN].clamp(max=length)
    sequences = best_fit(lengths.tolist(), length)
    order = torch.randperm(len(sequences), generator=torch.Generator().manual_seed(0)).tolist()
    batches = []
    for step in range(CHAT_STEPS):
        tokens = batch(step, batch_size=batch_size, length=length)
        chosen = [sequences[order[(step * batch_size + row) % len(order)]] for row in range(batch_size)]
        rows = [_row(lengths[row].tolist(), length) for row in chosen]
        positions, trained = (torch.stack(parts) for parts in zip(*rows, strict=True))
        labels = tokens[:, 1:].masked_fill(~trained, IGNORE_INDEX)
        batches.append(({"input": tokens[:, :-1], "positions": positions}, labels.contiguous()))
    return batches


def told_of_chats(batches: list[Batch], seconds: list[float]) -> dict[str, Any]:
    """Tokens a second: of all positions, and of those that are trained."""
    labelled = [int((labels != IGNORE_INDEX).sum()) for _, labels in batches]
    documents = sum(int((inputs["positions"] == 0).sum()) for inputs, _ in batches)
    size, timed = batches[0][1].numel(), seconds[CHAT_WARM_UP:]
    rates = [count / second for count, second in zip(labelled[CHAT_WARM_UP:], timed, strict=True)]
    return {
        "tokensPerSecond": round(size / median(timed)),
        "labelledTokensPerSecond": round(median(rates)),
        "labelledShare": round(sum(labelled) / (len(batches) * size), 3),
        "documentsAStep": round(documents / len(batches), 1),
        "seconds": [round(second, 4) for second in seconds],
    }


def _row(documents: list[int], length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions that restart with each document, and which tokens are trained; (length,) each."""
    padding = length - sum(documents)
    parts = [torch.arange(size) for size in [*documents, padding] if size]
    trained = [torch.arange(size) >= PROMPT * size for size in documents]
    return torch.cat(parts), torch.cat([*trained, torch.zeros(padding, dtype=torch.bool)])
