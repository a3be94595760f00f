"""A cluster for hand work: `python tests/controlplane/cluster up` and `... down`."""

import argparse
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "builders"))

from cluster import argocd, binaries, oldest, stages
from cluster.closing_client import closing_client
from cluster.controlplane import ControlPlane
from cluster.credentials import Credentials
from cluster.kueue import KUEUE
from cluster.lws import LWS
from cluster.operator_pod import OperatorPod
from cluster.process import Process
from cluster.real import programs, volumes
from cluster.real.cluster import RealCluster
from cluster.real.node import REGISTRY, clear, complain_of_another
from kubernetes import client

FOLDER = Path(".cluster").absolute()
STAGE_SECONDS = {"prepare": 5, "train": 20, "merge-shards": 5, "merge": 5, "verify": 5}


def main() -> None:
    parser = argparse.ArgumentParser(prog="cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="build the programs into the cache, if they are not there")
    commands.add_parser("build-argocd", help="the same for Argo CD's engine")
    commands.add_parser("build-kueue", help="the same for Kueue")
    commands.add_parser("build-lws", help="the same for LeaderWorkerSet")
    commands.add_parser("build-node", help="the same for what a node runs")
    commands.add_parser("node-packages", help="install what a node needs of Debian's")
    starting = commands.add_parser("up", help="start a control plane in .cluster/ and leave it running")
    starting.add_argument("--gpu-nodes", type=int, default=4, help="fake nodes of 8 GPUs each")
    starting.add_argument("--node", choices=["played", "real"], default="played", help="who runs pods")
    following = commands.add_parser("operator-pod", help="run the operator's program while its pod runs")
    following.add_argument("server")
    providing = commands.add_parser("volumes", help="give each claim a folder")
    providing.add_argument("kubeconfig", type=Path)
    providing.add_argument("folder", type=Path)
    commands.add_parser("down", help="stop it and remove .cluster/")
    arguments = parser.parse_args()
    match arguments.command:
        case "build":
            print(binaries.build(), oldest.build(), sep="\n")
        case "build-argocd":
            print(argocd.build())
        case "build-kueue":
            print(KUEUE.build())
        case "build-lws":
            print(LWS.build())
        case "build-node":
            programs.complain()
            print(*programs.build(), sep="\n")
        case "node-packages":
            programs.install()
        case "up" if arguments.node == "real":
            up_with_a_real_node()
        case "up":
            up(gpu_nodes=arguments.gpu_nodes)
        case "volumes":
            with closing_client(arguments.kubeconfig) as api:
                volumes.provision_for_ever(api, arguments.folder)
        case "operator-pod":
            operator_pod(arguments.server)
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
    with plane.api_client() as api:
        _play_stages(api)
    command = [sys.executable, str(Path(__file__).parent), "operator-pod", plane.server]
    follower = Process(name="operator-pod", command=command, folder=FOLDER, follows_parent=False)
    follower.start()
    _record(plane.processes | {follower.name: follower})
    print(f"A control plane with {gpu_nodes} nodes of 8 fake GPUs runs at {plane.server}.", file=sys.stderr)
    print("Pods are played, but for the operator's, whose program really runs.", file=sys.stderr)
    _print_exports(plane)


def up_with_a_real_node() -> None:
    programs.complain()
    down()
    complain_of_another()
    FOLDER.mkdir()
    cluster = RealCluster(folder=FOLDER, follows_parent=False)
    try:
        cluster.start()
    except BaseException:
        cluster.stop()
        raise
    _record(cluster.processes)
    print(f"A cluster whose node really runs pods is at {cluster.plane.server}.", file=sys.stderr)
    print(f"Its registry is {REGISTRY}: `make images REGISTRY={REGISTRY}/finetune`.", file=sys.stderr)
    print(f"A claim CLAIM of a namespace is the folder {cluster.volumes}/NAMESPACE/CLAIM.", file=sys.stderr)
    _print_exports(cluster.plane)


def _record(processes: dict[str, Process]) -> None:
    """For `down`, which ends them."""
    pids = {name: process.pid for name, process in processes.items()}
    (FOLDER / "pids.json").write_text(json.dumps(pids))


def _print_exports(plane: ControlPlane) -> None:
    print(f"Its logs are in {FOLDER}; `make cluster-down` ends it.", file=sys.stderr)
    print(f"export KUBECONFIG={plane.kubeconfig} PATH={binaries.find('helm').parent}:$PATH")


def _play_stages(api: client.ApiClient) -> None:
    """The stages of a job end well after some seconds; without this every pod runs for ever."""
    for name, seconds in STAGE_SECONDS.items():
        ended = stages.status_step(stages.ended_status(0))
        labels = {"app.kubernetes.io/component": name}
        stages.create(
            api,
            stages.stage(
                f"succeed-{name}",
                stages.POD,
                [stages.ALIVE, stages.READY],
                ended,
                labels=labels,
                after=seconds,
                weight=stages.SCRIPTED_WEIGHT,
            ),
        )


def operator_pod(server: str) -> None:
    """Works in .cluster/, as every other program of it does."""
    folder = Path.cwd()
    credentials = Credentials(folder=folder / "credentials")
    program = Path(sys.executable).parent / "finetune-operator"
    OperatorPod(folder=folder, credentials=credentials, server=server, program=program).run()


def down() -> None:
    recorded = FOLDER / "pids.json"
    if recorded.exists():
        for name, pid in json.loads(recorded.read_text()).items():
            _end(name, pid)
    clear()
    shutil.rmtree(FOLDER, ignore_errors=True)


def _end(name: str, pid: int) -> None:
    """Kills only what is still ours: a process that works in the folder. Its data goes with it."""
    if not _is_ours(pid):
        return
    os.kill(pid, signal.SIGKILL)
    for _ in range(100):
        if not _is_ours(pid):
            return
        time.sleep(0.05)
    raise SystemExit(f"error: {name} (process {pid}) does not end. Kill it, then try again.")


def _is_ours(pid: int) -> bool:
    where = _working_directory(pid)
    return where is not None and where.is_relative_to(FOLDER)


def _working_directory(pid: int) -> Path | None:
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd"))
    except OSError:
        return None


if __name__ == "__main__":
    main()
