"""The `train` command without its checks of base and data, on the worker of these tests."""

import sys
from pathlib import Path

from finetune_trainer.contract.failure import failure_of, report
from finetune_trainer.contract.run_file import load_run
from finetune_trainer.train.agent import launch

run_file, root = Path(sys.argv[1]), Path(sys.argv[2])
try:
    launch(load_run(run_file), run_file, root, worker="failing_worker")
except Exception as error:
    failure = failure_of(error)
    report(failure)
    sys.exit(failure.exit_code)
