"""A control plane for hand work: `python tests/controlplane/cluster up` and `... down`."""

import argparse
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from cluster import binaries
from cluster.controlplane import ControlPlane

FOLDER = Path(".cluster").absolute()


def main() -> None:
    parser = argparse.ArgumentParser(prog="cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="build the programs into the cache, if they are not there")
    starting = commands.add_parser("up", help="start a control plane in .cluster/ and leave it running")
    starting.add_argument("--gpu-nodes", type=int, default=4, help="fake nodes of 8 GPUs each")
    commands.add_parser("down", help="stop it and remove .cluster/")
    arguments = parser.parse_args()
    match arguments.command:
        case "build":
            print(binaries.build())
        case "up":
            up(gpu_nodes=arguments.gpu_nodes)
        case "down":
            down()


def up(*, gpu_nodes: int) -> None:
    """Replaces a control plane that is still running here."""
    down()
    FOLDER.mkdir()
    plane = ControlPlane(folder=FOLDER, gpu_nodes=gpu_nodes, follows_parent=False)
    try:
        plane.start()
    except BaseException:
        plane.stop()
        raise
    pids = {name: process.pid for name, process in plane.processes.items()}
    (FOLDER / "pids.json").write_text(json.dumps(pids))
    print(f"A control plane with {gpu_nodes} nodes of 8 fake GPUs runs at {plane.server}.", file=sys.stderr)
    print(f"Its logs are in {FOLDER}; `make cluster-down` ends it.", file=sys.stderr)
    print(f"export KUBECONFIG={plane.kubeconfig} PATH={binaries.find('helm').parent}:$PATH")


def down() -> None:
    recorded = FOLDER / "pids.json"
    if recorded.exists():
        for name, pid in json.loads(recorded.read_text()).items():
            _end(name, pid)
    shutil.rmtree(FOLDER, ignore_errors=True)


def _end(name: str, pid: int) -> None:
    """Kills only what is still ours: a process that works in the folder. Its data goes with it."""
    if _working_directory(pid) != FOLDER:
        return
    os.kill(pid, signal.SIGKILL)
    for _ in range(100):
        if _working_directory(pid) != FOLDER:
            return
        time.sleep(0.05)
    raise SystemExit(f"error: {name} (process {pid}) does not end. Kill it, then try again.")


def _working_directory(pid: int) -> Path | None:
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd"))
    except OSError:
        return None


if __name__ == "__main__":
    main()
