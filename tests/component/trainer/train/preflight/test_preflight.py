"""What a start is refused for, with one line and a remedy each; the processes are real ones, over gloo."""

import multiprocessing
import os
import socket
from collections import namedtuple
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from waiting import HANG_SECONDS

from finetune_trainer.contract.failure import ConfigurationError, DataError, Reason, failure_of
from finetune_trainer.data.document import Document
from finetune_trainer.data.store import TokenStore
from finetune_trainer.train.preflight import Preflight, check_machine, check_peers, machine, peers

CPU = Preflight(nodes=1, processes_per_node=2, device="cpu")
CUDA = replace(CPU, device="cuda")
Usage = namedtuple("Usage", ["total", "used", "free"])


@pytest.fixture
def machine_with(monkeypatch):
    """machine_with(gpus=8, free=2**30): what this process finds."""

    def make(*, gpus: int = 8, free: int = 2**30):
        monkeypatch.setattr(torch.cuda, "init", lambda: None)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(machine.shutil, "disk_usage", lambda _folder: Usage(2**40, 0, free))

    return make


@pytest.mark.parametrize(
    ("found", "message"),
    [
        pytest.param({"gpus": 1}, "2 processes on a node with 1 GPUs", id="gpus"),
        pytest.param({"free": 60 * 2**20}, "/dev/shm has 60 MiB free, 2 processes need 64 MiB", id="shared"),
    ],
)
def test_an_unfit_machine_is_named_with_the_process(machine_with, monkeypatch, found, message):
    monkeypatch.setenv("RANK", "3")
    machine_with(**found)
    with pytest.raises(ConfigurationError) as caught:
        check_machine(CUDA, [])
    assert caught.value.message == f"rank 3 on {socket.gethostname()}: {message}"
    assert caught.value.reason is Reason.MACHINE_UNFIT


OLD = "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver"
MODULE = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.82.01  Wed Oct 27 21:21:55 UTC 2021\nGCC: 9\n"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n"


@pytest.mark.parametrize(
    ("module", "told"),
    [
        pytest.param(MODULE, "470.82.01", id="old"),
        pytest.param(OPEN, "570.86.15", id="open"),
        pytest.param(None, "none is loaded", id="none"),
    ],
)
def test_a_driver_that_does_not_run_this_cuda_is_named(tmp_path, monkeypatch, module, told):
    def init():
        raise RuntimeError(f"{OLD}\nby downloading a new one")

    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.setattr(machine, "DRIVER", tmp_path / "version")
    if module:
        (tmp_path / "version").write_text(module)
    with pytest.raises(ConfigurationError) as caught:
        check_machine(CUDA, [])
    assert caught.value.message == (
        f"CUDA {torch.version.cuda} does not start with the node's driver ({told}): {OLD}"
    )
    assert caught.value.reason is Reason.MACHINE_UNFIT


def test_a_pod_that_has_asked_for_rdma_has_a_device_of_it(machine_with, tmp_path, monkeypatch):
    machine_with()
    monkeypatch.setattr(machine, "RDMA_DEVICES", tmp_path)
    asked = replace(CUDA, rdma="rdma/hca")
    with pytest.raises(ConfigurationError, match=r"the pod has rdma/hca, and no \S+/uverbs\*"):
        check_machine(asked, [])
    check_machine(CUDA, [])
    (tmp_path / "uverbs0").touch()
    check_machine(asked, [])


def test_a_gpu_without_fp8_products_is_named(machine_with, monkeypatch):
    machine_with()
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA A100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    with pytest.raises(ConfigurationError, match="NVIDIA A100 is no GPU") as caught:
        check_machine(replace(CUDA, float8_products=True), [])
    assert caught.value.reason is Reason.MACHINE_UNFIT
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    check_machine(replace(CUDA, float8_products=True), [])


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        pytest.param(CUDA, {}, id="gpus"),
        pytest.param(replace(CUDA, processes_per_node=1), {"free": 0}, id="one-process-shares-nothing"),
        pytest.param(CPU, {"gpus": 0, "free": 0}, id="cpu"),
    ],
)
def test_a_fit_machine_passes(machine_with, settings, found):
    machine_with(**found)
    check_machine(settings, [])


def test_data_that_cannot_be_read_is_named(tmp_path):
    TokenStore.write([Document(tokens=[1, 2, 3], trained=[True] * 3)], tmp_path)
    check_machine(CPU, [tmp_path])
    file = tmp_path / "tokens.int32"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(DataError, match=r"tokens\.int32 has 8 bytes and not 12"):
        check_machine(CPU, [tmp_path])


@pytest.mark.parametrize(
    ("devices", "bandwidth", "device", "expected"),
    [
        pytest.param(["H200", "H200"], 200e9, "cuda", [], id="well"),
        pytest.param(["H200", "H100"], 200e9, "cuda", ["different GPUs (H100, H200)"], id="unlike"),
        pytest.param(["H200", "H200"], 1e9, "cuda", ["an all-reduce brings 1.0 GB/s only"], id="slow"),
        pytest.param(["CPU", "CPU"], 1e8, "cpu", [], id="cpu-is-slow"),
        pytest.param(["H200"], None, "cuda", [], id="alone"),
    ],
)
def test_what_is_slow_is_a_warning(devices, bandwidth, device, expected):
    found = peers.warnings(devices, bandwidth, device)
    assert len(found) == len(expected)
    assert all(part in line for part, line in zip(expected, found, strict=True))


def _meet(rank: int, port: int, settings: Preflight, outcomes) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo")
    try:
        check_peers(settings)
        outcomes.put((rank, 0, str(peers.all_reduce_bandwidth("cpu"))))
    except Exception as error:
        failure = failure_of(error)
        outcomes.put((rank, failure.exit_code, failure.message))
    dist.destroy_process_group()


def _outcomes(settings: Preflight) -> list[tuple[int, int, str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    for rank in range(2):
        context.Process(target=_meet, args=(rank, port, settings, queue), daemon=True).start()
    return sorted(queue.get(timeout=HANG_SECONDS) for _ in range(2))


def test_processes_that_are_those_of_the_run_measure_their_network():
    (_, code, bandwidth), (_, other, _) = _outcomes(CPU)
    assert (code, other) == (0, 0)
    assert float(bandwidth) > 1e6


def test_another_number_of_processes_is_refused_on_all():
    message = "2 processes have met, the run file has 2 nodes x 2 processes"
    assert _outcomes(replace(CPU, nodes=2)) == [(0, 2, message), (1, 2, message)]


SOCKET = """\
node:7:7 [0] NCCL INFO NET/IB : No device found.
node:7:7 [0] NCCL INFO NET/Socket : Using [0]eth0:10.0.0.7<0>
node:7:7 [0] NCCL INFO Using network Socket
"""


@pytest.mark.parametrize(
    ("settings", "code", "message"),
    [
        pytest.param(replace(CPU, nodes=2, processes_per_node=1), 0, "", id="not asked for"),
        pytest.param(replace(CPU, rdma="rdma/ib"), 0, "", id="one node"),
        pytest.param(
            replace(CPU, nodes=2, processes_per_node=1, rdma="rdma/ib"),
            2,
            "the pods have rdma/ib, and NCCL's network is Socket, which is TCP over [0]eth0:10.0.0.7<0>, on ",
            id="asked for",
        ),
    ],
)
def test_tcp_is_refused_on_all_where_rdma_was_asked_for(tmp_path, monkeypatch, settings, code, message):
    """The log is made up: these processes have no GPU, and meet over gloo."""
    monkeypatch.setenv("NCCL_DEBUG_FILE", str(tmp_path / "nccl.log"))
    (tmp_path / "nccl.log").write_text(SOCKET)
    outcomes = _outcomes(settings)
    assert [each for _, each, _ in outcomes] == [code, code]
    assert all(message in told for _, _, told in outcomes)
