"""The trainer image's two commands: `python -m finetune_trainer prepare|train --run FILE --root DIR`."""

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from finetune_trainer.contract.failure import Stopped, failure_of, report, tell
from finetune_trainer.contract.run_file import RunFile, RunFolders, load_run
from finetune_trainer.prepare.ready import require_prepared
from finetune_trainer.report import write_report
from finetune_trainer.train.agent import launch, observe_rendezvous


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage and return its exit code (contract/exit-codes.json)."""
    parsed = _parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stage: Callable[[RunFile, Path, RunFolders], None] = parsed.stage
    try:
        run = load_run(parsed.run)
        stage(run, parsed.run.resolve(), RunFolders(root=parsed.root.resolve(), paths=run.paths))
    except (Exception, KeyboardInterrupt) as error:
        failure = failure_of(error)
        report(failure)
        return failure.exit_code
    return 0


def _prepare(run: RunFile, _run_file: Path, folders: RunFolders) -> None:
    # torchtitan takes seconds to import, and an agent does without it.
    from finetune_trainer.prepare.stage import prepare

    for received in (signal.SIGTERM, signal.SIGINT):
        signal.signal(received, _stop)
    prepare(run, folders)


def _data(run: RunFile, _run_file: Path, folders: RunFolders) -> None:
    from finetune_trainer.prepare.preview import preview_data

    print(json.dumps(preview_data(run, folders).to_json()))


def _train(run: RunFile, run_file: Path, folders: RunFolders) -> None:
    writes_report = observe_rendezvous(run, os.environ).node == 0
    failure: str | None = None
    try:
        if not folders.adapter.exists():
            require_prepared(folders)
            launch(run, run_file, folders.root)
        if writes_report and folders.selection.is_file():
            tell({"selection": json.loads(folders.selection.read_text(encoding="utf-8"))})
    except BaseException as error:
        failure = str(failure_of(error))
        raise
    finally:
        if writes_report:
            write_report(run, run_file, folders, failure=failure)


def _stop(received: int, _frame: FrameType | None) -> None:
    """End at once: an exception would wait for the threads that download, and every file is crash-safe."""
    failure = Stopped(
        f"stopped by {signal.Signals(received).name}", remedy="The next attempt goes on from what is complete"
    )
    report(failure)
    os._exit(failure.exit_code)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m finetune_trainer", description=__doc__)
    stages = parser.add_subparsers(required=True, metavar="STAGE")
    for name, stage, summary in (
        ("prepare", _prepare, "fetch and check the base model and the dataset"),
        ("data", _data, "print what would train as JSON: the data report of a run that is not there yet"),
        ("train", _train, "train the adapter: one torchrun agent, to be started on every node"),
    ):
        command = stages.add_parser(name, help=summary)
        command.add_argument("--run", type=Path, required=True, help="the run file")
        command.add_argument("--root", type=Path, required=True, help="where the volume is mounted")
        command.set_defaults(stage=stage)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
