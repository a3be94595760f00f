"""Which way NCCL took between nodes, by its own log: it has no call that tells.

https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html#nccl-debug
"""

import os
import re
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_LEVEL, _SUBSYSTEMS, _FILE = "NCCL_DEBUG", "NCCL_DEBUG_SUBSYS", "NCCL_DEBUG_FILE"
_RELAY_SECONDS = 1.0
# "host:1:2 [0] NCCL INFO Using network IB"; of libfabric "NET/OFI Selected Provider is efa (found 32 nics)";
# a channel is "Channel 00/0 : 1[1] -> 8[0] [send] via NET/IB/0/GDRDMA".
_NETWORK = re.compile(r"NCCL INFO Using network (?P<name>.+?)\s*$")
_PROVIDER = re.compile(r"NET/OFI Selected [Pp]rovider is (?P<name>[^\s,(]+)")
_CHANNEL = re.compile(r" via NET/(?P<name>[^/]+)/\d+(?P<rest>\S*)")
_DEVICES = re.compile(r"NET/(?P<network>\w+) : Using (?P<devices>\[0\].*?)(?: \[RO\])?(?:;|$)")
_TCP_PROVIDERS = ("tcp", "sockets", "udp")


@dataclass(frozen=True, kw_only=True)
class Transport:
    """What brings bytes from node to node."""

    network: str
    """In NCCL's own word: IB, Socket, AWS Libfabric, FasTrak, gIB."""
    provider: str = ""
    """Of libfabric, such as efa."""
    devices: str = ""
    """As NCCL lists them: [0]mlx5_0:1/IB [1]mlx5_1:1/IB."""
    direct: bool = False
    """Whether a network card reads and writes a GPU's memory (GPUDirect RDMA)."""

    @property
    def is_tcp(self) -> bool:
        return self.network == "Socket" or self.provider.startswith(_TCP_PROVIDERS)

    def __str__(self) -> str:
        way = f"{self.network} ({self.provider})" if self.provider else self.network
        tcp = ", which is TCP" if self.is_tcp else ""
        devices = f" over {self.devices}" if self.devices else ""
        return f"{way}{tcp}{devices}{', GPUDirect' if self.direct else ''}"


def transport_of(lines: Iterable[str]) -> Transport | None:
    """What a log says; None where it names no network, as where no other node is.

    The last word counts: what a network was tried and left for comes first.
    """
    network, provider, direct = "", "", False
    devices: dict[str, str] = {}
    for line in lines:
        if found := _NETWORK.search(line):
            network = found["name"]
        elif found := _PROVIDER.search(line):
            provider = found["name"]
        elif found := _CHANNEL.search(line):
            network, direct = found["name"], direct or "GDRDMA" in found["rest"]
        elif found := _DEVICES.search(line):
            devices[found["network"]] = found["devices"].strip()
    if not network:
        return None
    of_libfabric = provider if "fabric" in network.lower() else ""
    return Transport(network=network, provider=of_libfabric, devices=devices.get(network, ""), direct=direct)


def keep_log() -> None:
    """Have NCCL write its log to a file of this process, before its first communicator.

    What is otherwise to be seen goes on to be: warnings, or all that NCCL_DEBUG has asked for.
    """
    asked = os.environ.get(_LEVEL, "").upper()
    if _FILE in os.environ:
        return
    os.environ[_FILE] = str(Path(tempfile.gettempdir()) / f"nccl.{os.getpid()}.log")
    os.environ[_LEVEL] = asked if asked in ("INFO", "TRACE") else "INFO"
    os.environ.setdefault(_SUBSYSTEMS, "INIT,BOOTSTRAP,ENV,NET")
    everything = asked in ("INFO", "TRACE")
    threading.Thread(target=_relay, args=(log_file(), everything), daemon=True).start()


def log_file() -> Path:
    """Where this process's log is: %h is the host, up to a point, and %p the process."""
    name, host = os.environ.get(_FILE, ""), socket.gethostname().partition(".")[0]
    return Path(name.replace("%h", host).replace("%p", str(os.getpid())))


def transport() -> Transport | None:
    """Of this process; None where NCCL says nothing, or is not there."""
    file = log_file()
    if not file.is_file():
        return None
    return transport_of(file.read_text(encoding="utf-8", errors="replace").splitlines())


def relayed(line: str, everything: bool) -> bool:
    """Whether a line of NCCL's is to be seen."""
    return everything or "NCCL WARN" in line or "NCCL ERROR" in line


def _relay(file: Path, everything: bool) -> None:
    position = 0
    while True:
        time.sleep(_RELAY_SECONDS)
        if not file.is_file():
            continue
        with file.open(encoding="utf-8", errors="replace") as log:
            log.seek(position)
            for line in log:
                if relayed(line, everything):
                    print(line, end="", file=sys.stderr, flush=True)
            position = log.tell()
