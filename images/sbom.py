"""Prints what an image holds, Debian's packages and Python's, as CycloneDX 1.6; always the same for it."""

import json
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

DPKG_STATUS = Path("/var/lib/dpkg/status")


def python_packages() -> Iterator[dict[str, Any]]:
    for each in metadata.distributions():
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


def main() -> None:
    status = DPKG_STATUS.read_text(encoding="utf-8") if DPKG_STATUS.exists() else ""
    print(json.dumps(sbom([*debian_packages(status), *python_packages()]), indent=1))


if __name__ == "__main__":
    main()
