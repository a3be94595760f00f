"""What a node lives in: its network, mounts and processes go with the first process in them.

So nothing of a node is left on the machine, however it ends: no link, no rule, no mount, no process.
"""

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from cluster.process import Process

# What programs write to fixed places of /var, such as /var/log/pods, goes to a layer of the node's own; /run,
# where sockets are, starts empty; and what a kubelet sets of the whole machine reaches files of its own
# instead (setupKernelTunables). The first process reaps what containerd's shims leave to it.
_FIRST = """
set -eu
mount --make-rshared /
mkdir -p "$1/var.upper" "$1/var.work" "$1/empty"
mount -t overlay overlay -o "lowerdir=/var,upperdir=$1/var.upper,workdir=$1/var.work" /var
mount -t tmpfs tmpfs /run
for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
    kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
  mkdir -p "$1/sysctl/${setting%/*}"
  cat "/proc/sys/$setting" > "$1/sysctl/$setting"
  mount --bind "$1/sysctl/$setting" "/proc/sys/$setting"
done
hostname "$2"
ip link set lo up
sysctl --quiet -w net.ipv4.ip_forward=1
touch /run/node-is-up
while :; do wait; sleep 1 & done
"""
_APART = ["--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"]


@dataclass(kw_only=True)
class Namespaces:
    """`address` of the node and that of the machine, `host`, are the two ends of one cable."""

    name: str
    folder: Path
    address: str
    host: str
    follows_parent: bool = True
    ranges: tuple[str, ...] = ()
    """Of pods and services: the machine reaches them through the node."""
    first: Process = field(init=False)

    def start(self) -> None:
        script = ["bash", "-c", _FIRST, "node", str(self.folder), self.name]
        self.first = self._process("node", ["unshare", *_APART, "--propagation=private", "--", *script])
        self.first.start()
        self.first.wait_until(self._is_up)
        self._connect()

    def process(self, name: str, command: list[str], env: dict[str, str] | None = None) -> Process:
        """A program of the node; it ends when what entered the namespaces for it does."""
        return self._process(name, [*self._enter(), "setpriv", "--pdeathsig=TERM", *command], env)

    def run(self, *command: str, stdin: bytes | None = None) -> str:
        done = subprocess.run([*self._enter(), *command], input=stdin, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode()

    def _enter(self) -> list[str]:
        return ["nsenter", f"--target={self._pid}", "--net", "--mount", "--pid", "--uts", "--ipc", "--"]

    @property
    def _pid(self) -> int:
        children = Path(f"/proc/{self.first.pid}/task/{self.first.pid}/children").read_text().split()
        return int(children[0])

    def _is_up(self) -> bool:
        try:
            self.run("test", "-e", "/run/node-is-up")
        except (RuntimeError, IndexError, OSError):
            return False
        return True

    def _connect(self) -> None:
        on_host = f"{self.name[:8]}-cable"
        _ip("link", "add", on_host, "type", "veth", "peer", "name", "eth0", "netns", str(self._pid))
        _ip("address", "add", f"{self.host}/30", "dev", on_host)
        _ip("link", "set", on_host, "up")
        self.run("ip", "address", "add", f"{self.address}/30", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")
        self.run("ip", "route", "add", "default", "via", self.host)
        for each in self.ranges:
            _ip("route", "replace", each, "via", self.address)

    def _process(self, name: str, command: list[str], env: dict[str, str] | None = None) -> Process:
        return Process(
            name=name, command=command, folder=self.folder, follows_parent=self.follows_parent, env=env or {}
        )


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
