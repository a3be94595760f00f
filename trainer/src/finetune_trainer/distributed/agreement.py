"""Ranks act as one: what one of them fails at, all of them fail at."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from safetensors import SafetensorError

from finetune_trainer.contract.failure import Failure, failure_of, storage_failure

T = TypeVar("T")


@functools.cache
def control_group() -> dist.ProcessGroup | None:
    """The group for agreeing about small values on the host, which must not wait for a GPU's queue.

    A process has one, as it has one default group of torch's.
    """
    return None if dist.get_backend() == "gloo" else new_host_group()


def new_host_group() -> dist.ProcessGroup:
    """A group of all ranks for values on the host. Every rank must call this."""
    group = dist.new_group(backend="gloo")
    assert isinstance(group, dist.ProcessGroup)  # It is a number where this rank is no member.
    return group


def any_rank(flag: bool) -> bool:
    """Whether `flag` is set on any rank; the same answer on all."""
    return bool(greatest(float(flag)))


def greatest(value: float) -> float:
    """The greatest `value` of all ranks, on all."""
    tensor = torch.tensor([value], dtype=torch.float64)
    dist.all_reduce(tensor, dist.ReduceOp.MAX, group=control_group())
    return float(tensor.item())


def gather_numbers(values: Sequence[float]) -> list[list[float]]:
    """`values`, as many on every rank, of every rank, by rank."""
    own = torch.tensor(values, dtype=torch.float64)
    gathered = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, own, group=control_group())
    return [numbers.tolist() for numbers in gathered]


def gather_objects(value: T, group: dist.ProcessGroup | None = None) -> list[T]:
    """`value` of every rank, by rank. A thread beside the training's has to bring a `group` of its own."""
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value, group=group or control_group())
    return values


def from_rank_zero(compute: Callable[[], T]) -> T:
    """What `compute` returns on rank 0, on every rank; its Failure or OSError is a failure on all."""
    outcome: list[Any] = [None, None]
    if dist.get_rank() == 0:
        try:
            outcome[0] = compute()
        except (Failure, OSError) as error:
            outcome[1] = failure_of(error)
    dist.broadcast_object_list(outcome, src=0, group=control_group())
    if outcome[1] is not None:
        raise outcome[1]
    result: T = outcome[0]
    return result


def write_together(write: Callable[[], T], folder: Path, group: dist.ProcessGroup | None = None) -> list[T]:
    """Run `write` on every rank and return all results. A Failure or OSError on one is a failure on all."""
    result: T | None = None
    problem: Failure | None = None
    try:
        result = write()
    except Failure as error:
        problem = error
    except (OSError, SafetensorError) as error:
        problem = storage_failure(error, folder)
    outcomes = gather_objects((result, problem), group)
    if problems := [problem for _, problem in outcomes if problem is not None]:
        raise problems[0]
    return [result for result, _ in outcomes]  # type: ignore[misc]
