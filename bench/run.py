"""`make bench`: every benchmark, one after the other, from a demo that has run."""

import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parent
COMMANDS = (
    ("loss_against_peft.py",),
    ("parallelism.py",),
    ("merge.py",),
    ("merge_671b.py",),
    ("merge_extrapolated.py",),
    ("packing.py",),
    ("tokenizing.py",),
    ("prepare_data.py",),
    ("fuzz_readers.py",),
    ("fuzz_adapters.py",),
    ("agreement.py", ".demo"),
    ("api_server_away.py",),
    ("load",),
    ("checkpoint_transfers.py",),
    ("full_width.py",),
    ("several_gpus.py",),
)


def main() -> int:
    """Run them all; the number of those that failed."""
    failed = [command for command in COMMANDS if _run(command)]
    for command in failed:
        print(f"error: bench/{' '.join(command)} failed", file=sys.stderr)
    return len(failed)


def _run(command: tuple[str, ...]) -> int:
    print(f"$ python bench/{' '.join(command)}", flush=True)
    return subprocess.run([sys.executable, BENCH / command[0], *command[1:]]).returncode


if __name__ == "__main__":
    sys.exit(main())
