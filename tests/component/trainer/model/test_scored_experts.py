"""Experts that weigh their outputs before the last product give what torchtitan's give, and its gradients."""

import multiprocessing
import os
import socket
import traceback
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torchtitan.distributed.utils import set_spmd_backend
from torchtitan.models.common.moe import RoutedExperts
from waiting import HANG_SECONDS

from finetune_trainer.model.dispatch import SingleBufferTokenDispatcher
from finetune_trainer.model.lora.experts import LoRAGroupedExperts, ScoredExperts
from finetune_trainer.model.lora.settings import LoRASettings

RANKS, TOKENS, CHOICES, EXPERTS, SIZE, HIDDEN = 2, 24, 2, 8, 32, 16
SHAPES = {"w1_EFD": (HIDDEN, SIZE), "w2_EDF": (SIZE, HIDDEN), "w3_EFD": (HIDDEN, SIZE)}


def _experts(kind: type[RoutedExperts], rank: int, ranks: int) -> Any:
    own = EXPERTS // ranks
    experts = kind(
        kind.Config(
            inner_experts=LoRAGroupedExperts.Config(
                dim=SIZE, hidden_dim=HIDDEN, num_experts=own, lora=LoRASettings(rank=8, alpha=16.0)
            ),
            token_dispatcher=SingleBufferTokenDispatcher.Config(num_experts=EXPERTS, top_k=CHOICES),
        )
    )
    generator = torch.Generator().manual_seed(5)
    for name, shape in SHAPES.items():
        weight = 0.3 * torch.randn(EXPERTS, *shape, generator=generator)[rank * own : (rank + 1) * own]
        setattr(experts.inner_experts, name, torch.nn.Parameter(weight, requires_grad=False))
    return experts


def _computed(experts: Any, rank: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(10 + rank)
    chosen = torch.stack([torch.randperm(EXPERTS, generator=generator)[:CHOICES] for _ in range(TOKENS)])
    x = torch.randn(1, TOKENS, SIZE, generator=generator, requires_grad=True)
    scores = torch.rand(1, TOKENS, CHOICES, generator=generator, requires_grad=True)
    output = experts(x, scores, chosen[None], torch.bincount(chosen.flatten(), minlength=EXPERTS))
    return output, *torch.autograd.grad(output.square().sum(), (x, scores))


def test_on_one_rank() -> None:
    ours, theirs = (_computed(_experts(kind, 0, 1), 0) for kind in (ScoredExperts, RoutedExperts))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def _on_a_rank(rank: int, port: int, problems: Any) -> None:
    world = {"RANK": str(rank), "WORLD_SIZE": str(RANKS), "MASTER_ADDR": "127.0.0.1"}
    os.environ |= world | {"MASTER_PORT": str(port)}
    try:
        dist.init_process_group("gloo")
        set_spmd_backend("partial_dtensor")
        mesh = init_device_mesh("cpu", (RANKS,), mesh_dim_names=("ep",))
        results = []
        for kind in (ScoredExperts, RoutedExperts):
            experts = _experts(kind, rank, RANKS)
            experts.token_dispatcher.wire_meshes(ep_mesh=mesh)
            results.append(_computed(experts, rank))
        for ours, theirs in zip(*results, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
        dist.barrier()
        problems.put("")
    except BaseException:
        problems.put(traceback.format_exc())


def test_on_two_ranks_that_share_the_experts() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("fork")
    problems: Any = context.Queue()
    for rank in range(RANKS):
        context.Process(target=_on_a_rank, args=(rank, port, problems), daemon=True).start()
    found = [problems.get(timeout=HANG_SECONDS) for _ in range(RANKS)]
    assert not any(found), "\n".join(found)
