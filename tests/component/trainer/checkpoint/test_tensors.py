import pytest
import torch
from safetensors.torch import save_file

from finetune_trainer.checkpoint.tensors import (
    Part,
    TrainedParameter,
    check_finite,
    held_parts,
    trained_parameters,
)
from finetune_trainer.checkpoint.transfers import Transfer, planned_transfers, rounds
from finetune_trainer.contract.failure import CheckpointError


def _rows(start: int, end: int, name: str = "a") -> Part:
    return Part(name, (4, 3), torch.float32, (start, 0), (end, 3))


def test_ranks_take_turns_in_writing_and_each_part_travels_once() -> None:
    held = [
        {"layer-0": [_rows(0, 2)], "layer-1": [_rows(0, 2, "b")]},
        {"layer-0": [_rows(2, 4)], "layer-1": [_rows(2, 4, "b")]},
        {"layer-0": [_rows(0, 2)], "layer-1": [_rows(0, 2, "b")]},  # has what rank 0 has
    ]
    planned = planned_transfers(held)
    assert [(each.file, each.part.start[0], each.source, each.writer) for each in planned] == [
        ("layer-0", 0, 0, 0),
        ("layer-0", 2, 1, 0),
        ("layer-1", 2, 1, 1),
        ("layer-1", 0, 0, 1),
    ]


def _transfer(writer: int, source: int, rows: int) -> Transfer:
    return Transfer(file="layer-0", part=_rows(0, rows), source=source, writer=writer)


def test_a_round_sends_each_writer_no_more_than_the_limit() -> None:
    row = 3 * 4
    transfers = [_transfer(0, 1, 1), _transfer(0, 2, 1), _transfer(0, 0, 4), _transfer(0, 1, 1)]
    transfers += [_transfer(1, 0, 4), _transfer(1, 2, 1)]
    sizes = [
        [(each.writer, each.source, each.bytes // row) for each in made]
        for made in rounds(transfers, 2 * row)
    ]
    assert sizes == [[(0, 1, 1), (0, 2, 1), (0, 0, 0), (1, 0, 4)], [(0, 1, 1), (1, 2, 1)]]


def test_what_a_rank_holds_is_the_storage_that_trains() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    held = held_parts([TrainedParameter("a", parameter, {"exp_avg": torch.zeros(2)})])
    with torch.no_grad():
        parameter.fill_(5.0)
    assert [(part.name, part.slices) for part in held] == [
        ("a", (slice(0, 2),)),
        ("a/exp_avg", (slice(0, 2),)),
    ]
    assert [values.tolist() for values in held.values()] == [[5.0, 5.0], [0.0, 0.0]]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_named(tmp_path, value: float) -> None:
    file = tmp_path / "layer-3.safetensors"
    save_file({"a": torch.ones(2), "b/exp_avg": torch.tensor([1.0, value]), "step": torch.tensor(2)}, file)
    with pytest.raises(CheckpointError, match=r"layer-3\.safetensors: b/exp_avg is not finite"):
        check_finite(file)


@pytest.mark.parametrize("looked_at", [True, False])
def test_the_first_step_is_the_optimizer_s_first(looked_at: bool) -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.AdamW(
        [{"params": [parameter], "param_names": ["layers.0.a"]}], lr=0.5, weight_decay=0.0
    )
    if looked_at:
        trained_parameters([optimizer])
    parameter.grad = torch.tensor([1.0, -2.0, 3.0])
    optimizer.step()
    assert parameter.tolist() == pytest.approx([-0.5, 0.5, -0.5])
    assert optimizer.state[parameter]["step"].item() == 1


def test_a_state_that_is_there_stays() -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.AdamW([{"params": [parameter], "param_names": ["layers.0.a"]}])
    parameter.grad = torch.ones(3)
    optimizer.step()
    ((_, [trained]),) = trained_parameters([optimizer]).items()
    assert trained.state["step"].item() == 1
