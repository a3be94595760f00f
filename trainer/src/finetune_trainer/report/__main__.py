"""`python -m finetune_trainer.report FOLDER FOLDER... --output FILE`: finished runs compared, in one page."""

import argparse
import sys
from pathlib import Path

from finetune_trainer.contract.whole_file import write_text
from finetune_trainer.report.compare import compare
from finetune_trainer.report.compared import Compared, NoRunError


def main() -> int:
    """Write the page; a folder without a run is one line, and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m finetune_trainer.report", description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", help="the runs' folders")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        write_text(arguments.output, compare([Compared.read(folder) for folder in arguments.folders]))
    except NoRunError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
