"""Name files of more than 300 lines and functions of more than 50 (CONTRIBUTING.md), and exit with 1."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MOST_LINES = 300
MOST_LINES_OF_A_FUNCTION = 50


def too_long(file: Path) -> Iterator[str]:
    """Yield a line for each thing in a file that is too long."""
    text = file.read_text(encoding="utf-8")
    if (lines := text.count("\n")) > MOST_LINES:
        yield f"{file}: {lines} lines; divide it"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MOST_LINES_OF_A_FUNCTION:
                yield f"{file}:{node.lineno}: {node.name} has {lines} lines; divide it"


if __name__ == "__main__":
    listed = subprocess.run(["git", "ls-files", "*.py"], capture_output=True, text=True, check=True)
    found = [line for file in listed.stdout.splitlines() for line in too_long(Path(file))]
    print("\n".join(found), end="\n" if found else "")
    sys.exit(1 if found else 0)
