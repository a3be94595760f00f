"""A rank of the 671B examples, traced on a CPU: what it holds, loads, sends, and has in memory at most."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finetune_operator.core.capacity.adapters import adapter_parameters
from finetune_operator.core.capacity.architecture import FLAVORS
from finetune_operator.core.capacity.training import Layout, Training, training_memory

pytestmark = pytest.mark.chain

CASE = Path(__file__).with_name("trace_case.py")
GOLDEN = Path(__file__).parents[2] / "golden/run/671b.json"
MODEL = FLAVORS["671B_lora"]
LAYERS, DENSE_LAYERS, EXPERTS, DEGREE = 61, 3, 256, 8
HIDDEN, EXPERT_HIDDEN, TOP_K, LENGTH = 7168, 2048, 8, 4096
FLOAT8 = {"frozenDtype": "float8", "frozenArithmetic": "float8"}
NODE = {"workers": {"nodes": 1}, "training": FLOAT8}
DEGREES = {
    "data": None,
    "replicate": 4,
    "tensor": 1,
    "expert": 8,
    "pipeline": 1,
    "context": 1,
    "frozenWeights": "sharded",
}
COPIES = {"training": {**FLOAT8, "parallelism": DEGREES}}
LONG = {"sequenceLength": 2**17, "globalBatchSize": 4}
STAGES = {"globalBatchSize": 16, "parallelism": {**DEGREES, "replicate": 1, "pipeline": 2}}
PIPELINE = {"workers": {"nodes": 2}, "training": {**FLOAT8, **STAGES}}
CONTEXT = {"training": {**LONG, "parallelism": {**DEGREES, "replicate": 1, "context": 8}}}


def trace(folder: Path, rank: int, changes: dict[str, dict[str, Any]], layers: int) -> dict[str, Any]:
    run = json.loads(GOLDEN.read_text())
    for section, values in changes.items():
        run[section] |= values
    (folder / "run.json").write_text(json.dumps(run))
    command = [sys.executable, CASE, folder / "run.json", str(rank), folder / "trace.json", str(layers)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    told: dict[str, Any] = json.loads((folder / "trace.json").read_text())
    return told


def planned(processes: int, copies: int, frozen: str, layers: int) -> dict[str, int]:
    """What Fits says of the example, without what it adds for CUDA."""
    return training_memory(
        Training(
            model=replace(MODEL, num_hidden_layers=layers),
            layout=Layout(processes=processes, replicate=copies, expert=DEGREE),
            frozen=frozen,
            compute="bfloat16",
            targets=["attention"],
            rank=16,
            sequence_length=LENGTH,
            micro_batch_size=1,
            recompute="full",
            float8_products=frozen == "float8",
        )
    )


@pytest.mark.parametrize(
    ("rank", "nodes", "copies", "changes", "frozen", "layers", "experts"),
    [
        pytest.param(13, 4, 1, {}, "bfloat16", LAYERS, range(168, 176), id="rank 13 of 32"),
        # What the copies below are without the others: cut, as a whole trace takes most of a minute.
        pytest.param(2, 1, 1, NODE, "float8", 9, range(64, 96), id="rank 2 of one node in FP8"),
        pytest.param(10, 4, 4, COPIES, "float8", LAYERS, range(64, 96), id="rank 10 of 4 copies in FP8"),
    ],
)
def test_a_rank_of_the_example(
    tmp_path: Path,
    rank: int,
    nodes: int,
    copies: int,
    changes: dict[str, Any],
    frozen: str,
    layers: int,
    experts: range,
) -> None:
    told, processes = trace(tmp_path, rank, changes, layers), nodes * DEGREE // copies
    assert told["layers"] == layers
    _check_parameters(told["parameters"], processes)
    assert told["planned"]["experts"] == list(experts)  # of this rank's node, then of its part of them
    plan = planned(nodes * DEGREE, copies, frozen, layers)
    base = next(size for name, size in plan.items() if name.startswith("frozen base"))
    assert told["planned"]["bytes"] == pytest.approx(base, rel=0.01)
    assert told["loadedBytes"] == pytest.approx(base, rel=0.01)
    error = 0.1 if layers == LAYERS else 0.12  # of few layers the one at work is a larger part
    assert told["peakBytes"] == pytest.approx(sum(plan.values()), rel=error)
    _check_collectives(told["collectives"], processes, frozen, layers)
    _check_what_copies_send(told["collectives"], copies, layers)


def test_a_rank_of_a_sequence_of_131072_tokens(tmp_path: Path) -> None:
    """By eight ranks of 16,384 tokens each, which gather keys and values; only kernels are not traced."""
    told = trace(tmp_path, 13, CONTEXT, 5)
    layout = Layout(processes=4 * DEGREE, expert=DEGREE, context=8)
    training = Training(
        model=replace(MODEL, num_hidden_layers=5),
        layout=layout,
        frozen="bfloat16",
        compute="bfloat16",
        targets=["attention"],
        rank=16,
        sequence_length=2**17,
        micro_batch_size=1,
        recompute="full",
    )
    assert told["peakBytes"] == pytest.approx(sum(training_memory(training).values()), rel=0.1)
    sent = TOP_K * 2**17 // 8 * HIDDEN * 2
    assert told["collectives"]["alltoall"]["bytes"] == pytest.approx(2 * 6 * sent, rel=0.01)


def test_the_last_stage_of_a_pipeline(tmp_path: Path) -> None:
    """What the first sends and gets back: the states of two micro-batches, and their gradients."""
    told = trace(tmp_path, DEGREE, PIPELINE, 9)
    layout = Layout(processes=2 * DEGREE, expert=DEGREE, pipeline=2)
    training = Training(
        model=replace(MODEL, num_hidden_layers=9),
        layout=layout,
        frozen="float8",
        compute="bfloat16",
        targets=["attention"],
        rank=16,
        sequence_length=LENGTH,
        micro_batch_size=1,
        micro_batches=2,
        recompute="full",
        float8_products=True,
    )
    plan = training_memory(training)
    assert told["loadedBytes"] == pytest.approx(plan["frozen base in float8"], rel=0.01)
    assert told["peakBytes"] == pytest.approx(sum(plan.values()), rel=0.12)
    states = {"calls": 2, "bytes": 2 * LENGTH * HIDDEN * 2}
    assert (told["collectives"]["recv"], told["collectives"]["send"]) == (states, states)


def _check_parameters(parameters: dict[str, Any], processes: int) -> None:
    weights = parameters["moe.routed_experts.inner_experts.w1_EFD"]
    assert weights["shape"] == [EXPERTS, EXPERT_HIDDEN, HIDDEN]
    assert weights["local"] == [EXPERTS // processes, EXPERT_HIDDEN, HIDDEN]
    adapter = parameters["attention.wo.lora_b.weight"]
    assert (adapter["shape"], adapter["dtype"]) == ([HIDDEN, 16], "float32")
    assert adapter["local"] == [HIDDEN // processes, 16]
    trained = {name for name, parameter in parameters.items() if parameter["gradient"]}
    assert trained == {name for name in parameters if "lora_" in name}


def _check_collectives(collectives: dict[str, Any], processes: int, frozen: str, layers: int) -> None:
    """A layer's experts are gathered by FSDP, twice a step, only where it has divided them."""
    byte, moe_layers = 1 if frozen == "float8" else 2, layers - DENSE_LAYERS
    own_experts = moe_layers * 3 * EXPERTS // DEGREE * EXPERT_HIDDEN * HIDDEN * byte
    gathered = collectives["allgather_base"]["bytes"]
    if processes > DEGREE:
        assert 2 * own_experts < gathered < 2 * own_experts * 1.25
    else:
        assert gathered < 2 * own_experts
    assert collectives["reduce_scatter_base"]["calls"] == layers
    # There, with the scores, and back: forward, again, backward; and, forward and again, who gets how many.
    assert collectives["alltoall"]["calls"] == moe_layers * (9 + 2)
    sent = TOP_K * LENGTH * HIDDEN * 2
    assert collectives["alltoall"]["bytes"] == pytest.approx(moe_layers * 6 * sent, rel=0.01)


def _check_what_copies_send(collectives: dict[str, Any], copies: int, layers: int) -> None:
    """Between nodes: a GPU's eighth of the adapters' gradients, in float32, and nothing else of size."""
    adapters = layers * adapter_parameters(MODEL, ["attention"], 16, experts=True)
    gradients = 4 * adapters // DEGREE if copies > 1 else 0
    sent = collectives.get("allreduce", {"bytes": 0})["bytes"]
    assert sent == pytest.approx(gradients, abs=1e4)
