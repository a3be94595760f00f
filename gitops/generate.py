"""Write argocd-cm.patch.yaml from health/*.lua; with --check, fail when it differs."""

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).parent
PATCH = HERE / "argocd-cm.patch.yaml"
_HEADER = """\
# Generated from health/*.lua by gitops/generate.py; edit those instead.
#   kubectl patch configmap argocd-cm --namespace argocd --patch-file gitops/argocd-cm.patch.yaml
data:
"""


def patch_text() -> str:
    """Return the patch; GROUP_KIND.lua is the health check of that kind."""
    return _HEADER + "".join(
        f"  resource.customizations.health.{script.stem}: |\n{_indented(script.read_text())}"
        for script in sorted(HERE.glob("health/*.lua"))
    )


def _indented(script: str) -> str:
    return "".join(f"    {line}" if line.strip() else line for line in script.splitlines(keepends=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare and write nothing")
    if not parser.parse_args().check:
        PATCH.write_text(patch_text())
    elif not PATCH.exists() or PATCH.read_text() != patch_text():
        print(
            "gitops/argocd-cm.patch.yaml is not what health/*.lua say: run `make generate`", file=sys.stderr
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
