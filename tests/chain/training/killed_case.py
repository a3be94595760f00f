"""Train a run to its end, and another of the same run that is killed again and again on the way.

Every life is a fork of this process, which has imported everything: what is left of a start is the run's own.
"""

import argparse
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from finetune_trainer.train import worker
from finetune_trainer.train.trainer import LoRATrainer

LONGEST_LIFE = 4
"""Steps until the kill; checkpoints are every two."""


def start(run: Path, root: Path) -> tuple[int, int]:
    """Fork a worker; its process id, and a pipe with a byte for each step."""
    steps, write = os.pipe()
    child = os.fork()
    if child:
        os.close(write)
        return child, steps

    def tell_steps(trainer: LoRATrainer) -> None:
        trainer.metrics_processor.recorders.append(lambda _step: os.write(write, b"."))

    log = os.open(root / "log.txt", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os._exit(worker.run_worker(run, root, worker.configure, on_start=tell_steps))


def live(run: Path, root: Path) -> int:
    """Let a worker end by itself; its exit code."""
    child, steps = start(run, root)
    _, status = os.waitpid(child, 0)
    os.close(steps)
    return os.waitstatus_to_exitcode(status)


def kill(run: Path, root: Path, steps_to_live: int, seconds_more: float) -> None:
    """Kill a worker that many steps after its start, and a moment: saving may be going on."""
    child, steps = start(run, root)
    for _ in range(steps_to_live):
        if not os.read(steps, 1):
            break
    time.sleep(seconds_more)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(steps)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--undisturbed", type=Path, required=True)
    parser.add_argument("--killed", type=Path, required=True)
    parser.add_argument("--times", type=int, required=True)
    arguments = parser.parse_args()
    codes = [live(arguments.run, arguments.undisturbed)]
    moments = random.Random(4)
    saved = arguments.killed / json.loads(arguments.run.read_text())["paths"]["run"] / "checkpoints"
    for _ in range(arguments.times):
        kill(arguments.run, arguments.killed, moments.randint(1, LONGEST_LIFE), moments.uniform(0, 0.1))
        found = sorted(entry.name for entry in saved.iterdir()) if saved.exists() else []
        print("killed; there are", ", ".join(found) or "no checkpoints", flush=True)
    codes.append(live(arguments.run, arguments.killed))
    print("exit codes", codes)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
