"""A worker without a model: it meets its peers, then ends as $ENDS says for its rank ("1:oom,0:wait")."""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

from finetune_trainer.contract.failure import OutOfMemory, Stopped, StorageError, failure_of, report
from finetune_trainer.contract.run_file import load_run
from finetune_trainer.train.agent import stop_with_agent


def end(how: str) -> None:
    match how:
        case "oom":
            raise OutOfMemory("the GPU is full")
        case "crash":
            raise KeyError("wrong")
        case "exit":
            os._exit(7)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "collective":
            dist.all_reduce(torch.zeros(1))
        case "wait" | "full":
            wait_for_stop(how)


def wait_for_stop(how: str) -> None:
    received: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: received.append(number))
    Path(os.environ["READY"], os.environ["RANK"]).touch()
    while not received:
        time.sleep(0.02)
    time.sleep(0.5)  # saving
    if how == "full":
        raise StorageError("no space left on the volume")
    raise Stopped("stopped by SIGTERM after saving step 3")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path)
    parser.add_argument("--root", type=Path)
    arguments = parser.parse_args()
    stop_with_agent()
    try:
        load_run(arguments.run)
        dist.init_process_group("gloo")
        dist.barrier()
        place = f"node {os.environ['GROUP_RANK']} rank {os.environ['RANK']}"
        (arguments.root / f"rank-{os.environ['RANK']}").write_text(f"{place} of {dist.get_world_size()}")
        ends = dict(item.split(":") for item in os.environ["ENDS"].split(",") if item)
        end(ends.get(os.environ["RANK"], ""))
        dist.destroy_process_group()
    except Exception as error:
        failure = failure_of(error)
        report(failure)
        return failure.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
