"""sbom.py STATUS FOLDER ...: prints what an image holds as CycloneDX 1.6; always the same for it.

Debian's packages by dpkg's STATUS, where there is one, and Python's by the folders that they are in.
"""

import json
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote


def python_packages(folders: list[str]) -> Iterator[dict[str, Any]]:
    for each in metadata.distributions(path=folders):
        name, version = re.sub(r"[-_.]+", "-", each.name).lower(), each.version
        yield component(name, version, f"pkg:pypi/{name}@{quote(version)}")


def debian_packages(status: str) -> Iterator[dict[str, Any]]:
    """Those of dpkg's own list that are installed."""
    for paragraph in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if re.match(r"[\w-]+: ", line))
        if fields.get("Status", "").endswith(" installed"):
            name, version, architecture = fields["Package"], fields["Version"], fields["Architecture"]
            yield component(name, version, f"pkg:deb/debian/{name}@{quote(version)}?arch={architecture}")


def component(name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def sbom(components: list[dict[str, Any]]) -> dict[str, Any]:
    """Without a time and a serial number, which would differ in every build."""
    ordered = sorted(components, key=lambda each: each["bom-ref"])
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": ordered}


def main(status_file: str, *folders: str) -> None:
    file = Path(status_file)
    status = file.read_text(encoding="utf-8") if file.exists() else ""
    print(json.dumps(sbom([*debian_packages(status), *python_packages(list(folders))]), indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
