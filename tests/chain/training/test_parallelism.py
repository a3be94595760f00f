"""One process against several: the same losses and gradient norms, whatever is trained, however divided."""

import pytest
from parallelism_table import (
    DIVIDED,
    FROZEN_IN_FLOAT8,
    ONE_PROCESS,
    SAMPLED,
    TARGETS,
    WHOLE_BLOCKS,
    Result,
    run_table,
)
from training_run import assert_same_curve

pytestmark = pytest.mark.chain

Table = dict[str, Result]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return run_table(tmp_path_factory.mktemp("table"))


@pytest.mark.parametrize("divided", DIVIDED)
def test_processes_train_as_one(table: Table, divided: str) -> None:
    together, alone = table[divided], table[ONE_PROCESS]
    assert_same_curve(together.steps, alone.steps)
    for norms, expected in zip(together.norms, alone.norms, strict=True):
        assert norms == pytest.approx(expected, abs=1e-3)
        assert set(norms) == set(TARGETS)


@pytest.mark.parametrize("parallelism", FROZEN_IN_FLOAT8)
def test_processes_freeze_in_float8_as_one_and_one_goes_on_from_them(table: Table, parallelism: str) -> None:
    alone = table[f"float8, {ONE_PROCESS}"]
    assert_same_curve(table[f"float8, {parallelism}"].steps, alone.steps[:-1])
    assert_same_curve(table[f"float8, after {parallelism}"].steps, alone.steps[-1:])


@pytest.mark.parametrize("parallelism", WHOLE_BLOCKS)
def test_processes_multiply_in_float8_as_one(table: Table, parallelism: str) -> None:
    together, alone = table[f"float8 products, {parallelism}"], table[f"float8 products, {ONE_PROCESS}"]
    assert_same_curve(together.steps, alone.steps)
    assert alone.steps != table[f"float8, {ONE_PROCESS}"].steps[:1]


def test_two_processes_start_from_an_adapter_as_one(table: Table) -> None:
    """Experts are on one process each, and the rest is sharded."""
    assert_same_curve(table["warm start, expert"].steps, table[f"warm start, {ONE_PROCESS}"].steps)
    untrained = table[ONE_PROCESS].steps[0]["loss"]
    assert abs(table["warm start, expert"].steps[0]["loss"] - untrained) > 0.01


@pytest.mark.parametrize("parallelism", SAMPLED)
def test_two_processes_generate_as_one(table: Table, parallelism: str) -> None:
    """Three prompts, of which one process has two and the other one."""
    alone = table[ONE_PROCESS].samples
    assert [len(answers) for answers in alone] == [3, 3]
    assert table[parallelism].samples == alone


@pytest.mark.parametrize(
    ("held", "experts"),
    [
        pytest.param("fsdp", [[0, 4], [4, 8]], id="sharded"),
        pytest.param("expert", [[0, 4], [4, 8]], id="divided, and with nothing left to shard"),
        pytest.param("copies and expert", [[0, 4], [4, 8]] * 2, id="divided in each copy"),
        pytest.param("resident", [[0, 8]] * 2, id="resident"),
        pytest.param("resident, experts divided", [[0, 4], [4, 8]] * 2, id="resident, divided"),
    ],
)
def test_each_rank_reads_the_experts_that_it_holds(table: Table, held: str, experts: list[list[int]]) -> None:
    """A frozen weight that FSDP leaves alone is a plain tensor: taken for a whole one, all ranks would read
    the first experts."""
    assert table[held].experts == [list(range(*part)) for part in experts]


def test_dropout_differs_between_ranks_that_share_no_activations(table: Table) -> None:
    first, second = table["dropout, fsdp"].random_states
    assert first != second


def test_dropout_is_the_same_on_ranks_that_do(table: Table) -> None:
    """Also after experts on other ranks have worked on other numbers of tokens."""
    first, second = table["dropout, tensor and expert"].random_states
    assert first == second
