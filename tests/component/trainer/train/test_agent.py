"""What an agent is started with, and which of several workers' failures is the cause."""

import json
import os
import signal
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from finetune_trainer.contract.failure import (
    CommunicationError,
    ConfigurationError,
    DataError,
    Failure,
    OutOfMemory,
    Stopped,
    StorageError,
    worker_record,
)
from finetune_trainer.contract.run_file import load_run
from finetune_trainer.train.agent import (
    SECONDS_TO_STOP,
    Rendezvous,
    first_failure,
    launch_config,
    lost_agents,
    observe_rendezvous,
    read_records,
    stopped_failure,
    threads_per_worker,
)

GOLDEN = Path(__file__).parents[3] / "golden" / "run"
RUN = load_run(GOLDEN / "quickstart.json")
RANK_1 = f"rank 1 on {socket.gethostname()}"


def with_nodes(nodes: int):
    return replace(RUN, workers=replace(RUN.workers, nodes=nodes))


@pytest.mark.parametrize(
    ("nodes", "environment", "expected"),
    [
        pytest.param(
            4,
            {"NODE_RANK": "3", "MASTER_ADDR": "faq-0.faq", "MASTER_PORT": "29500", "PET_RDZV_ID": "faq-2"},
            (3, "faq-0.faq", 29500, "faq-2"),
            id="the-operators",
        ),
        pytest.param(
            4,
            {"JOB_COMPLETION_INDEX": "1", "MASTER_ADDR": "h", "MASTER_PORT": "1"},
            (1, "h", 1, "3f2a9c1b"),
            id="indexed-job",
        ),
        pytest.param(
            2,
            {"PET_NODE_RANK": "1", "PET_MASTER_ADDR": "h", "PET_MASTER_PORT": "1"},
            (1, "h", 1, "3f2a9c1b"),
            id="torchruns",
        ),
    ],
)
def test_the_rendezvous_is_read_from_the_environment(nodes, environment, expected):
    node, host, port, identifier = expected
    assert observe_rendezvous(with_nodes(nodes), environment) == Rendezvous(
        node=node, host=host, port=port, identifier=identifier
    )


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        pytest.param({"MASTER_ADDR": "h", "MASTER_PORT": "1"}, "NODE_RANK is not set", id="no-rank"),
        pytest.param({"NODE_RANK": "0", "MASTER_PORT": "1"}, "MASTER_ADDR is not set", id="no-host"),
        pytest.param(
            {"NODE_RANK": "2", "MASTER_ADDR": "h", "MASTER_PORT": "1"},
            "NODE_RANK 2 of 2 nodes",
            id="too-high",
        ),
        pytest.param(
            {"NODE_RANK": "1", "MASTER_ADDR": "h", "MASTER_PORT": "x"}, "MASTER_PORT x", id="no-number"
        ),
    ],
)
def test_a_wrong_rendezvous_is_named(environment, message):
    with pytest.raises(ConfigurationError, match=message):
        observe_rendezvous(with_nodes(2), environment)


@pytest.mark.parametrize("node", [0, 1])
def test_agents_are_numbered_by_node_and_nothing_restarts(tmp_path, node):
    rendezvous = Rendezvous(node=node, host="h", port=1, identifier="x")
    config = launch_config(with_nodes(2).workers, rendezvous, tmp_path)
    assert config.rdzv_configs["rank"] == node
    assert (config.min_nodes, config.max_nodes, config.nproc_per_node) == (2, 2, 2)
    assert (config.max_restarts, config.rdzv_backend, config.run_id) == (0, "finetune-static", "x")


def test_alone_it_meets_itself_on_a_free_port():
    assert observe_rendezvous(with_nodes(1), {}).port > 0


def test_threads(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)))
    workers = RUN.workers
    assert threads_per_worker(replace(workers, processes_per_node=3)) == 2
    assert threads_per_worker(replace(workers, processes_per_node=64)) == 1
    assert threads_per_worker(replace(workers, device="cuda")) == 1


def records(*failures: Failure):
    return [{**worker_record(failure), "time": float(at)} for at, failure in enumerate(failures)]


def killed(code: int) -> ProcessFailure:
    return ProcessFailure(local_rank=0, pid=1, exitcode=code, error_file="/no/such/file")


LOST, FULL, STOPPED = CommunicationError("peer"), OutOfMemory("full"), Stopped("saved")


@pytest.mark.parametrize(
    ("told", "ended", "expected"),
    [
        pytest.param([LOST, FULL], {}, FULL, id="cause-before-consequence"),
        pytest.param([DataError("line"), FULL], {}, DataError("line"), id="the-first-of-two-causes"),
        pytest.param([STOPPED, LOST], {}, LOST, id="stopped-because-a-peer-was-lost"),
        pytest.param([STOPPED], {}, STOPPED, id="stopped"),
        pytest.param(
            [LOST],
            {1: killed(-signal.SIGKILL)},
            OutOfMemory(f"{RANK_1} was killed (SIGKILL), as the kernel does when the host's memory is full"),
            id="killed",
        ),
        pytest.param(
            [],
            {1: killed(-signal.SIGABRT)},
            CommunicationError(
                f"{RANK_1} aborted (SIGABRT), as NCCL does when a collective times out: "
                "another rank did not come"
            ),
            id="aborted",
        ),
        pytest.param(
            [],
            {1: killed(-signal.SIGTERM)},
            Stopped(f"{RANK_1} was stopped before it could save"),
            id="early-stop",
        ),
        pytest.param(
            [], {1: killed(-signal.SIGSEGV)}, Failure(f"{RANK_1} ended with signal SIGSEGV"), id="crash"
        ),
        pytest.param([], {1: killed(9)}, Failure(f"{RANK_1} ended with exit code 9"), id="exit-code"),
        pytest.param([], {}, Failure("the workers ended without a reason"), id="nothing"),
    ],
)
def test_the_cause_among_failures(told, ended, expected):
    failure = first_failure(records(*told), ended)
    assert (type(failure), failure.message) == (type(expected), expected.message)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        pytest.param([], "stopped by SIGTERM", id="nothing-told"),
        pytest.param([STOPPED, STOPPED], "saved", id="saved"),
        pytest.param([STOPPED, StorageError("full disk")], "full disk", id="could-not-save"),
    ],
)
def test_how_a_stopped_run_ended(told, expected):
    assert stopped_failure(records(*told), signal.SIGTERM).message == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        pytest.param([], "node 1: the other nodes cannot be reached at h:1", id="consequence"),
        pytest.param([FULL], "full", id="cause"),
    ],
)
def test_lost_agents(told, expected):
    assert (
        lost_agents(records(*told), Rendezvous(node=1, host="h", port=1, identifier="x")).message == expected
    )


def test_records_are_read_and_damaged_ones_passed_over(tmp_path):
    for rank, content in enumerate([json.dumps(worker_record(FULL)), "{", '{"message": "torch\'s own"}']):
        (tmp_path / str(rank)).mkdir()
        (tmp_path / str(rank) / "error.json").write_text(content)
    assert [record["exitCode"] for record in read_records(tmp_path)] == [10]


def test_an_agent_outlives_its_workers_within_the_pod_s_grace_period() -> None:
    children = yaml.safe_load_all((GOLDEN.parent / "children/671b.yaml").read_text())
    graces = {
        child["metadata"]["name"]: child["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        for child in children
        if child["kind"] == "Job"
    }
    [train] = [seconds for name, seconds in graces.items() if "-train-" in name]
    assert train - 60 < SECONDS_TO_STOP < train - 10
