"""What NCCL's log says of the network, line by line as NCCL 2.18 to 2.29 and its plugins write it.

Lines of InfiniBand, RoCE and EFA follow logs that others have published; those of Google's plugins, and of
libfabric over TCP, are written after NCCL's pattern: there was no RDMA here.
"""

import os
import time

import pytest

from finetune_trainer.train.preflight import keep_log
from finetune_trainer.train.preflight.transport import Transport, log_file, relayed, transport, transport_of

AT = "node-0:20:289 [0] NCCL INFO"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(
            [
                f"{AT} NET/Plugin: Could not find: libnccl-net.so",
                f"{AT} NET/IB : No device found.",
                f"{AT} NET/Socket : Using [0]eth0:10.0.0.7<0>",
                f"{AT} Using network Socket",
                f"{AT} Channel 00/0 : 1[1] -> 0[0] [receive] via NET/Socket/0",
            ],
            Transport(network="Socket", devices="[0]eth0:10.0.0.7<0>"),
            id="tcp",
        ),
        pytest.param(
            [
                f"{AT} NET/IB : Using [0]mlx5_0:1/IB/SHARP [1]mlx5_1:1/IB/SHARP [RO]; OOB eth0:10.0.0.7<0>",
                f"{AT} Using non-device net plugin version 0",
                f"{AT} Using network IB",
                f"{AT} Channel 02/0 : 8[0] -> 1[1] [send] via NET/IB/1/GDRDMA",
            ],
            Transport(network="IB", devices="[0]mlx5_0:1/IB/SHARP [1]mlx5_1:1/IB/SHARP", direct=True),
            id="infiniband",
        ),
        pytest.param(
            [f"{AT} NET/IB : Using [0]mlx5_4:1/RoCE [RO]; OOB eth0:10.0.0.7<0>", f"{AT} Using network IB"],
            Transport(network="IB", devices="[0]mlx5_4:1/RoCE"),
            id="roce, not yet connected",
        ),
        pytest.param(
            [
                f"{AT} NET/IB : Using [0]mlx5_0:1/IB [RO]; OOB eth0:10.0.0.7<0>",
                f"{AT} Initialized NET plugin IB",
                f"{AT} Assigned NET plugin IB to comm",
                f"{AT} Using network IB",
            ],
            Transport(network="IB", devices="[0]mlx5_0:1/IB"),
            id="nccl 2.28",
        ),
        pytest.param(
            [
                f"{AT} NET/Plugin: Loaded net plugin NCCL RDMA Plugin v6 (v6)",
                f"{AT} NET/IB : Using [0]mlx5_0:1/IB/SHARP [RO]; OOB ib0:10.0.0.7<0>",
                f"{AT} Using network IBext",
                f"{AT} Channel 00 : 8[0] -> 1[1] [send] via NET/IBext/0/GDRDMA",
            ],
            Transport(network="IBext", direct=True),
            id="hpc-x",
        ),
        pytest.param(
            [
                f"{AT} NET/OFI Initializing aws-ofi-nccl 1.7.4-aws",
                f"{AT} NET/OFI Selected Provider is efa (found 32 nics)",
                f"{AT} Using network AWS Libfabric",
                f"{AT} Channel 01/0 : 1[1] -> 8[0] [send] via NET/AWS Libfabric/1/GDRDMA",
            ],
            Transport(network="AWS Libfabric", provider="efa", direct=True),
            id="efa",
        ),
        pytest.param(
            [
                f"{AT} NET/OFI Selected Provider is efa (found 16 nics)",
                f"{AT} Using network Libfabric",
                f"{AT} Channel 00/0 : 0[0] -> 8[0] [send] via NET/Libfabric/0/GDRDMA(PCI)",
            ],
            Transport(network="Libfabric", provider="efa", direct=True),
            id="efa, later",
        ),
        pytest.param(
            [
                f"{AT} NET/OFI Selected provider is tcp;ofi_rxm, fabric is 10.0.0.0/16 (found 1 nics)",
                f"{AT} Using network AWS Libfabric",
            ],
            Transport(network="AWS Libfabric", provider="tcp;ofi_rxm"),
            id="libfabric over tcp",
        ),
        pytest.param(
            [
                "node-0:1:1 [0] get_ofi_provider:312 NCCL WARN NET/OFI Could not find any optimal provider",
                f"{AT} NET/Socket : Using [0]ens5:10.0.0.7<0>",
                f"{AT} Using network Socket",
            ],
            Transport(network="Socket", devices="[0]ens5:10.0.0.7<0>"),
            id="efa that failed",
        ),
        pytest.param(
            [f"{AT} Using network FasTrak"], Transport(network="FasTrak"), id="tcpxo, which is not TCP"
        ),
        pytest.param([f"{AT} Using network gIB"], Transport(network="gIB"), id="gib"),
        pytest.param([f"{AT} Channel 00/0 : 0[0] -> 1[1] via P2P/CUMEM/read"], None, id="one node"),
        pytest.param([], None, id="nothing"),
    ],
)
def test_a_log_tells_the_network(lines, expected):
    assert transport_of(lines) == expected


@pytest.mark.parametrize(
    ("way", "said"),
    [
        pytest.param(
            Transport(network="Socket", devices="[0]eth0:10.0.0.7<0>"),
            "Socket, which is TCP over [0]eth0:10.0.0.7<0>",
            id="tcp",
        ),
        pytest.param(
            Transport(network="AWS Libfabric", provider="tcp;ofi_rxm"),
            "AWS Libfabric (tcp;ofi_rxm), which is TCP",
            id="libfabric over tcp",
        ),
        pytest.param(
            Transport(network="AWS Libfabric", provider="efa", direct=True),
            "AWS Libfabric (efa), GPUDirect",
            id="efa",
        ),
        pytest.param(
            Transport(network="IB", devices="[0]mlx5_0:1/IB"), "IB over [0]mlx5_0:1/IB", id="infiniband"
        ),
    ],
)
def test_it_is_said_in_a_line(way, said):
    assert str(way) == said


@pytest.fixture
def environment(monkeypatch):
    """NCCL's variables as a test gives them; those that are set are gone after it."""

    def environment(**given):
        for name in ("NCCL_DEBUG", "NCCL_DEBUG_SUBSYS", "NCCL_DEBUG_FILE"):
            monkeypatch.delenv(name, raising=False)
            if name in given:
                monkeypatch.setenv(name, given[name])

    environment()
    return environment


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        pytest.param({}, ["b"], id="warnings"),
        pytest.param({"NCCL_DEBUG": "WARN"}, ["b"], id="warnings, asked for"),
        pytest.param({"NCCL_DEBUG": "INFO"}, ["a", "b"], id="everything"),
    ],
)
def test_what_was_to_be_seen_goes_on_to_be(environment, monkeypatch, tmp_path, capfd, given, seen):
    environment(**given)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("finetune_trainer.train.preflight.transport._RELAY_SECONDS", 0.01)
    keep_log()
    assert os.environ["NCCL_DEBUG"] == "INFO"
    log_file().write_text(f"{AT} a\nnode:1:1 [0] misc.cc:1 NCCL WARN b\n{AT} Using network IB\n")
    assert transport() == Transport(network="IB")
    text = ""
    for _ in range(500):
        text += capfd.readouterr().err
        if "NCCL WARN b" in text:
            break
        time.sleep(0.01)
    assert [word for word in ("a", "b") if f" {word}\n" in text] == seen


def test_a_log_of_the_users_own_stays_where_it_is(environment, tmp_path):
    environment(NCCL_DEBUG_FILE=str(tmp_path / "log.%p"), NCCL_DEBUG="INFO")
    keep_log()
    assert os.environ["NCCL_DEBUG_FILE"] == str(tmp_path / "log.%p")
    assert log_file() == tmp_path / f"log.{os.getpid()}"
    assert transport() is None


def test_errors_are_seen():
    assert not relayed(f"{AT} a", everything=False)
    assert relayed("node:1:1 [0] NCCL WARN a", everything=False)
