"""Stands for the trainer's and the converter's commands in unit tests: short, and told by files what to do.

`FAKE/<stage>` holds one line an attempt: an exit code, `sleep`, `meet` or `daemon`; the last line repeats.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

FAKE = Path(os.environ["FAKE"])


def next_order(stage: str) -> str:
    """Return the order for this attempt of a stage; done when there is none."""
    orders = (FAKE / stage).read_text().split() if (FAKE / stage).exists() else ["0"]
    with (FAKE / f"{stage}.calls.{os.environ.get('NODE_RANK', '0')}").open("a+") as calls:
        calls.write(f"{os.getpid()}\n")
        calls.seek(0)
        count = len(calls.readlines())
    return orders[min(count, len(orders)) - 1]


def sleep_until_stopped() -> None:
    """Save on SIGTERM and exit with 143, as the trainer does."""

    def save(*_: object) -> None:
        (FAKE / "saved").touch()
        sys.exit(143)

    signal.signal(signal.SIGTERM, save)
    (FAKE / "sleeping").touch()
    signal.pause()


def meet() -> None:
    """Rank 0 listens where MASTER_ADDR says; every other rank connects."""
    address = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
    if os.environ["NODE_RANK"] == "0":
        with socket.create_server(address) as server:
            for _ in range(int(os.environ["PET_NNODES"]) - 1):
                server.accept()[0].close()
        return
    while True:
        try:
            socket.create_connection(address).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.05)


def main() -> None:
    """Do what the order says."""
    if sys.argv[1] == "check":
        obey(next_order("check"), "check")
        return
    stage = sys.argv[sys.argv.index("--run") - 1]
    run = json.loads(Path(sys.argv[sys.argv.index("--run") + 1]).read_text())
    root = Path(sys.argv[sys.argv.index("--root") + 1])
    (root / run["paths"]["run"]).mkdir(parents=True, exist_ok=True)
    if stage == "merge":
        (root / run["paths"]["run"] / "merged").mkdir(exist_ok=True)
    if stage == "data" and (FAKE / "report.json").exists():
        print((FAKE / "report.json").read_text())
    if "--shard" in sys.argv:
        with (FAKE / "shards").open("a") as shards:
            shards.write(f"{sys.argv[sys.argv.index('--shard') + 1]}\n")
    obey(next_order(stage), stage)


def obey(order: str, stage: str) -> None:
    """End as the order says."""
    if order == "sleep":
        sleep_until_stopped()
    elif order == "meet":
        meet()
    elif order == "daemon":
        subprocess.Popen(["sleep", "300"], start_new_session=True)
        (FAKE / "sleeping").touch()
        signal.pause()
    elif order != "0":
        line = {"reason": "Broken", "message": f"The {stage} stage is broken", "remedy": "Mend it"}
        Path(os.environ["FINETUNE_TERMINATION_LOG"]).write_text(json.dumps(line) + "\n")
        sys.exit(int(order))


main()
