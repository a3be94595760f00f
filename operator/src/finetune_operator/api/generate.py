"""`python -m finetune_operator.api.generate`: write CRDs, the run contract's schema and a guide, or check."""

import argparse
import json
import sys
from pathlib import Path

import yaml

from finetune_operator.api import GROUP
from finetune_operator.api.crd import custom_resource_definition
from finetune_operator.api.resources import RESOURCES
from finetune_operator.api.run_file import RunFile
from finetune_operator.api.what_may_change import what_may_change_guide

_HEADER = "# Generated from operator/src/finetune_operator/api by `make generate`; edit the models instead.\n"


def generated_files() -> dict[Path, str]:
    """Return the text of every generated file, by its path in the repository."""
    files = {}
    for resource in RESOURCES:
        definition = yaml.safe_dump(custom_resource_definition(resource), sort_keys=False, width=110)
        files[Path(f"crds/{resource.plural}.{GROUP}.yaml")] = _HEADER + definition
    schema = RunFile.model_json_schema(by_alias=True, mode="serialization")
    files[Path("contract/run.schema.json")] = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    files[Path("docs/guides/what-may-change.md")] = what_may_change_guide()
    return files


def main() -> int:
    """Write the files; with --check, name those that differ and exit with 1."""
    parser = argparse.ArgumentParser(prog="finetune_operator.api.generate")
    parser.add_argument("--check", action="store_true", help="compare and write nothing")
    parser.add_argument("--root", type=Path, default=Path(), help="the repository's root")
    arguments = parser.parse_args()
    stale = [
        file
        for file, text in generated_files().items()
        if not (path := arguments.root / file).exists() or path.read_text() != text
    ]
    if arguments.check:
        for file in stale:
            print(f"{file} is not what the models say: run `make generate`", file=sys.stderr)
        return 1 if stale else 0
    for file in stale:
        (arguments.root / file).parent.mkdir(parents=True, exist_ok=True)
        (arguments.root / file).write_text(generated_files()[file])
        print(f"wrote {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
