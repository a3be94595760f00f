"""Copy crds/*.yaml into the chart, which reads only its own folder; with --check, fail when they differ."""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "crds"
COPIES = ROOT / "helm/finetune-operator/files/crds"


def stale_files() -> list[str]:
    """Return the names of copies that differ, are missing, or are of a CRD that is gone."""
    wanted, found = _texts(SOURCE), _texts(COPIES)
    return sorted(name for name in wanted | found if wanted.get(name) != found.get(name))


def _texts(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.glob("*.yaml")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare and write nothing")
    check = parser.parse_args().check
    for name in stale_files():
        if check:
            print(
                f"{COPIES.relative_to(ROOT)}/{name} differs from crds/: run `make generate`", file=sys.stderr
            )
        elif (SOURCE / name).exists():
            COPIES.mkdir(parents=True, exist_ok=True)
            (COPIES / name).write_text((SOURCE / name).read_text())
        else:
            (COPIES / name).unlink()
    return 1 if check and stale_files() else 0


if __name__ == "__main__":
    sys.exit(main())
