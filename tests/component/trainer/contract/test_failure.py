"""Exit codes, and the three places that a failure is told in."""

import errno
import json
import multiprocessing
import os
import pickle
import socket
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import SafetensorError
from torch.distributed.elastic.rendezvous import RendezvousConnectionError
from waiting import HANG_SECONDS

from finetune_trainer.contract import failure as failures
from finetune_trainer.contract.failure import (
    CheckpointError,
    CommunicationError,
    ConfigurationError,
    DataError,
    Failure,
    OutOfMemory,
    Reason,
    Stopped,
    StorageError,
    failure_from_record,
    failure_of,
    report,
    worker_record,
)

CONTRACT = Path(__file__).parents[4] / "contract" / "exit-codes.json"


def test_every_code_of_the_contract_has_its_failure():
    codes = {int(code) for code in json.loads(CONTRACT.read_text())}
    assert {kind.exit_code for kind in Failure.__subclasses__()} == codes - {0}


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        pytest.param(
            torch.OutOfMemoryError("CUDA out of memory."), OutOfMemory, Reason.OUT_OF_MEMORY, id="cuda"
        ),
        pytest.param(
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            OutOfMemory,
            Reason.OUT_OF_MEMORY,
            id="cpu-allocator",
        ),
        pytest.param(MemoryError(), OutOfMemory, Reason.OUT_OF_MEMORY, id="python"),
        pytest.param(OSError(errno.ENOMEM, "no"), OutOfMemory, Reason.OUT_OF_MEMORY, id="enomem"),
        pytest.param(
            torch.distributed.DistBackendError("NCCL error: remote process exited"),
            CommunicationError,
            Reason.PEER_LOST,
            id="nccl",
        ),
        pytest.param(
            torch.distributed.DistBackendError("NCCL: Cuda failure 'out of memory'"),
            OutOfMemory,
            Reason.OUT_OF_MEMORY,
            id="nccl-out-of-memory",
        ),
        pytest.param(
            RuntimeError("[../gloo/transport/tcp/pair.cc:553] Connection closed by peer"),
            CommunicationError,
            Reason.PEER_LOST,
            id="gloo",
        ),
        pytest.param(
            RendezvousConnectionError("store"), CommunicationError, Reason.PEER_LOST, id="rendezvous"
        ),
        pytest.param(ConnectionResetError(), CommunicationError, Reason.PEER_LOST, id="socket"),
        pytest.param(OSError(errno.ENOSPC, "full", "/v/x"), StorageError, Reason.STORAGE_FULL, id="full"),
        pytest.param(OSError(errno.EDQUOT, "quota", "/v/x"), StorageError, Reason.STORAGE_FULL, id="quota"),
        pytest.param(
            SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
            StorageError,
            Reason.STORAGE_FULL,
            id="full-to-safetensors",
        ),
        pytest.param(
            SafetensorError("Io(Os { code: 28, kind: StorageFull })"),
            StorageError,
            Reason.STORAGE_FULL,
            id="full-to-older-safetensors",
        ),
        pytest.param(OSError(errno.EIO, "I/O error", "/v/x"), StorageError, Reason.STORAGE_FAILED, id="io"),
        pytest.param(
            PermissionError(errno.EACCES, "no"), StorageError, Reason.STORAGE_FAILED, id="permission"
        ),
        pytest.param(json.JSONDecodeError("bad", "x", 0), DataError, Reason.DATASET_INVALID, id="json"),
        pytest.param(KeyboardInterrupt(), Stopped, Reason.STOPPED, id="ctrl-c"),
        pytest.param(KeyError("x"), Failure, Reason.UNEXPECTED, id="defect"),
    ],
)
def test_exceptions_have_their_failure(error, kind, reason):
    failure = failure_of(error)
    assert (type(failure), failure.reason, failure.__cause__) == (kind, reason, error)


def test_a_process_of_a_training_names_itself(monkeypatch):
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setattr(failures.socket, "gethostname", lambda: "node-1")
    lost = failure_of(RuntimeError("[gloo/transport/tcp/unbound_buffer.cc:92] Timed out waiting 1000ms"))
    assert (lost.exit_code, lost.message[:18]) == (11, "rank 3 on node-1: ")
    assert failure_of(MemoryError("x")).message == "rank 3 on node-1: MemoryError: x"


def _wait_for_a_peer(rank, port, outcomes, told):
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", timeout=timedelta(seconds=HANG_SECONDS))
    torch.distributed.set_timeout(timedelta(seconds=1))
    if rank == 1:
        told.wait()
        os._exit(0)
    try:
        torch.distributed.all_reduce(torch.zeros(1))
    except Exception as error:
        failure = failure_of(error)
        outcomes.put((failure.exit_code, failure.message))


def test_a_collective_that_times_out_names_who_waited():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("fork")
    outcomes, told = context.Queue(), context.Event()
    for rank in range(2):
        context.Process(target=_wait_for_a_peer, args=(rank, port, outcomes, told), daemon=True).start()
    code, message = outcomes.get(timeout=HANG_SECONDS)
    told.set()
    assert code == 11
    assert message.startswith(f"rank 0 on {socket.gethostname()}: ")
    assert "Timed out waiting" in message


def test_a_full_gpu_is_told_in_numbers(monkeypatch):
    for name, gib in (("memory_allocated", 60), ("max_memory_allocated", 70), ("memory_reserved", 75)):
        monkeypatch.setattr(torch.cuda, name, lambda gib=gib: gib * 2**30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    total = SimpleNamespace(total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda: total)
    told = failure_of(
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total of ...")
    )
    assert told.message == (
        "OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB (60.0 GiB allocated, "
        "70.0 GiB at the step's peak, 75.0 GiB reserved, 80.0 GiB in all)"
    )
    assert "training.microBatchSize" in told.remedy


def test_a_failure_is_itself():
    failure = CheckpointError("step-3: half written")
    assert failure_of(failure) is failure


def test_a_failure_is_told_in_the_log_and_on_stderr(tmp_path, monkeypatch, capsys):
    log = tmp_path / "termination-log"
    monkeypatch.setenv(failures.TERMINATION_LOG, str(log))
    report(DataError("faq.jsonl:17: not JSON", remedy="Correct the line"))
    assert json.loads(log.read_text()) == {
        "reason": "DatasetInvalid",
        "message": "faq.jsonl:17: not JSON",
        "remedy": "Correct the line",
    }
    assert capsys.readouterr().err == "error: faq.jsonl:17: not JSON. Correct the line.\n"


def test_a_log_that_cannot_be_written_hides_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(failures.TERMINATION_LOG, str(tmp_path / "no" / "such" / "folder"))
    report(ConfigurationError("wrong"))
    assert capsys.readouterr().err.startswith("error: wrong. ")


def test_the_log_is_short_enough_for_the_kubelet(tmp_path, monkeypatch):
    monkeypatch.setenv(failures.TERMINATION_LOG, str(tmp_path / "log"))
    report(DataError("x" * 10_000))
    assert (tmp_path / "log").stat().st_size < 4096


def test_only_a_defect_shows_a_traceback(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(failures.TERMINATION_LOG, str(tmp_path / "log"))
    try:
        raise KeyError("x")
    except KeyError as error:
        report(failure_of(error))
    assert 'raise KeyError("x")' in capsys.readouterr().err


def test_a_worker_tells_its_agent(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(failures.WORKER_ERROR_FILE, str(tmp_path / "error.json"))
    report(StorageError("full", Reason.STORAGE_FULL, remedy="Free space"))
    told = failure_from_record(json.loads((tmp_path / "error.json").read_text()))
    assert (type(told), told.message, told.reason, told.remedy) == (
        StorageError,
        "full",
        Reason.STORAGE_FULL,
        "Free space",
    )
    assert capsys.readouterr().err == ""


def test_torch_can_read_what_a_worker_tells(tmp_path):
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

    file = tmp_path / "error.json"
    file.write_text(json.dumps(worker_record(OutOfMemory("full"))))
    assert ProcessFailure(local_rank=0, pid=1, exitcode=10, error_file=str(file)).timestamp > 0


def test_a_failure_can_be_sent_to_other_ranks():
    sent = pickle.loads(pickle.dumps(DataError("x", Reason.BASE_INCOMPLETE, remedy="y")))
    assert (sent.message, sent.reason, sent.remedy) == ("x", Reason.BASE_INCOMPLETE, "y")
