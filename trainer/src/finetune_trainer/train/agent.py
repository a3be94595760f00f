"""One torchrun agent a node: starts the node's workers and ends with the first worker's true failure."""

import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.distributed import DistError
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.elastic.rendezvous import RendezvousError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from finetune_trainer.contract.failure import (
    CommunicationError,
    ConfigurationError,
    Failure,
    OutOfMemory,
    Stopped,
    failure_from_record,
)
from finetune_trainer.contract.run_file import RunFile, Workers
from finetune_trainer.distributed.parent_death import end_with_parent
from finetune_trainer.train import rendezvous as rendezvous_of_known_ranks

WORKER = "finetune_trainer.train.worker"
# How long workers may take to save and end once the agent is told to stop; after a worker's failure torch
# gives the others 30 s. Less than a train pod's terminationGracePeriodSeconds (300; a test holds the two
# together): one that hangs is then killed by its agent, before the kubelet kills both and nothing is said.
SECONDS_TO_STOP = 270
SECONDS_TO_MEET = 900


@dataclass(frozen=True, kw_only=True)
class Rendezvous:
    """Where the agents meet. Node 0 hosts the store."""

    node: int
    host: str
    port: int
    identifier: str


def launch(run: RunFile, run_file: Path, root: Path, *, worker: str = WORKER) -> None:
    """Run the workers of this node until they end. Raises the Failure that ended them."""
    with tempfile.TemporaryDirectory(prefix="finetune-agent-") as records:
        rendezvous_of_known_ranks.register()
        rendezvous = observe_rendezvous(run, os.environ)
        os.environ.setdefault("OMP_NUM_THREADS", str(threads_per_worker(run.workers)))
        agent = elastic_launch(launch_config(run.workers, rendezvous, Path(records)), sys.executable)
        try:
            agent("-m", worker, "--run", str(run_file), "--root", str(root))
        except ChildFailedError as error:
            raise first_failure(read_records(Path(records)), error.failures) from error
        except (RendezvousError, DistError) as error:
            raise lost_agents(read_records(Path(records)), rendezvous) from error
        except SignalException as error:
            raise stopped_failure(read_records(Path(records)), error.sigval) from error


def stop_with_agent() -> None:
    """Have this worker receive SIGTERM when its agent dies, so that it does not train on alone (Linux).

    torchrun starts workers in sessions of their own: nothing else reaches them then.
    """
    end_with_parent(signal.SIGTERM)


def observe_rendezvous(run: RunFile, environment: Mapping[str, str]) -> Rendezvous:
    """Read it from the variables of torchrun and PyTorchJob. Raises ConfigurationError if one is missing.

    A run on one node needs none: it meets itself on a free port.
    """
    alone = run.workers.nodes == 1
    node = _first_of(
        environment, "NODE_RANK", "PET_NODE_RANK", "JOB_COMPLETION_INDEX", default="0" if alone else None
    )
    host = _first_of(environment, "MASTER_ADDR", "PET_MASTER_ADDR", default="127.0.0.1" if alone else None)
    port = _first_of(environment, "MASTER_PORT", "PET_MASTER_PORT", default="0" if alone else None)
    identifier = environment.get("PET_RDZV_ID", run.run)
    if not (node.isdecimal() and port.isdecimal() and int(node) < run.workers.nodes):
        raise ConfigurationError(
            f"NODE_RANK {node} of {run.workers.nodes} nodes, MASTER_PORT {port}: not the numbers of an agent",
            remedy="Set NODE_RANK below workers.nodes and MASTER_PORT to a port of node 0",
        )
    return Rendezvous(node=int(node), host=host, port=int(port) or _free_port(), identifier=identifier)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def launch_config(workers: Workers, rendezvous: Rendezvous, records: Path) -> LaunchConfig:
    return LaunchConfig(
        min_nodes=workers.nodes,
        max_nodes=workers.nodes,
        nproc_per_node=workers.processes_per_node,
        run_id=rendezvous.identifier,
        role="trainer",
        rdzv_backend=rendezvous_of_known_ranks.BACKEND,
        rdzv_endpoint=f"{rendezvous.host}:{rendezvous.port}",
        # Also how long node 0 may take to start: its image may still be on the way.
        rdzv_configs={"rank": rendezvous.node, "timeout": SECONDS_TO_MEET},
        # A new attempt is the operator's, with new pods: restarting here would hide it.
        max_restarts=0,
        shutdown_timeout=SECONDS_TO_STOP,
        logs_specs=DefaultLogsSpecs(log_dir=str(records)),
    )


def threads_per_worker(workers: Workers) -> int:
    """CPU workers share the cores that this process may use; beside a GPU one is enough, as in torchrun."""
    if workers.device == "cuda":
        return 1
    return max(1, len(os.sched_getaffinity(0)) // workers.processes_per_node)


def read_records(folder: Path) -> list[dict[str, Any]]:
    """What all workers left (`failure.worker_record`); torch looks at those that ended first only."""
    records = []
    for file in folder.rglob("error.json"):
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            continue
        if "exitCode" in record:
            records.append(record)
    return records


def first_failure(records: list[dict[str, Any]], ended: Mapping[int, ProcessFailure]) -> Failure:
    """The cause among several workers' failures.

    A peer that is gone and a request to stop follow from another worker's failure, so those come last; a
    worker that was killed left no record.
    """
    unrecorded = [_failure_without_record(rank, end) for rank, end in sorted(ended.items()) if _silent(end)]
    recorded = [failure_from_record(record) for record in sorted(records, key=lambda record: record["time"])]
    candidates = recorded + unrecorded
    return min(candidates, key=_rank_of_cause, default=Failure("the workers ended without a reason"))


def stopped_failure(records: list[dict[str, Any]], received: signal.Signals) -> Failure:
    """How the run ended after the agent was told to stop; a worker may have failed at saving."""
    stopped = Stopped(f"stopped by {received.name}")
    return min([*map(failure_from_record, records), stopped], key=_rank_of_cause)


def lost_agents(records: list[dict[str, Any]], rendezvous: Rendezvous) -> Failure:
    """The other agents cannot be reached: no cause, if a worker here failed of something else."""
    lost = CommunicationError(
        f"node {rendezvous.node}: the other nodes cannot be reached at {rendezvous.host}:{rendezvous.port}"
    )
    return min([*map(failure_from_record, records), lost], key=_rank_of_cause)


def _rank_of_cause(failure: Failure) -> int:
    return {CommunicationError: 1, Stopped: 2}.get(type(failure), 0)


def _silent(end: ProcessFailure) -> bool:
    return not Path(end.error_file).is_file()


def _failure_without_record(rank: int, end: ProcessFailure) -> Failure:
    worker = f"rank {rank} on {socket.gethostname()}"
    if end.exitcode == -signal.SIGKILL:
        return OutOfMemory(
            f"{worker} was killed (SIGKILL), as the kernel does when the host's memory is full"
        )
    if end.exitcode == -signal.SIGTERM:
        return Stopped(f"{worker} was stopped before it could save")
    if end.exitcode == -signal.SIGABRT:
        return CommunicationError(
            f"{worker} aborted (SIGABRT), as NCCL does when a collective times out: another rank did not come"
        )
    if end.exitcode < 0:
        return Failure(f"{worker} ended with signal {end.signal_name()}")
    return Failure(f"{worker} ended with exit code {end.exitcode}")


def _first_of(environment: Mapping[str, str], *names: str, default: str | None) -> str:
    for name in names:
        if value := environment.get(name):
            return value
    if default is None:
        raise ConfigurationError(
            f"{names[0]} is not set, and the run has several nodes",
            remedy="Set NODE_RANK, MASTER_ADDR and MASTER_PORT for every agent",
        )
    return default
