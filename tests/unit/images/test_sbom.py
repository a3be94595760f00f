import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

SBOM: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[3] / "images/sbom.py"))

STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u13
Description: GNU C Library
 Contains: the standard libraries

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1.0

Package: tzdata
Status: install ok installed
Architecture: all
Version: 2025b-0+deb12u2
"""


def test_what_dpkg_has_installed_is_listed() -> None:
    found = [each["purl"] for each in SBOM["debian_packages"](STATUS)]
    assert found == [
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u13?arch=amd64",
        "pkg:deb/debian/tzdata@2025b-0%2Bdeb12u2?arch=all",
    ]


def test_every_python_package_is_listed_once_by_its_normal_name() -> None:
    found = [each["name"] for each in SBOM["python_packages"](sys.path)]
    assert "finetune-operator" in found
    assert len(found) == len(set(found))


def test_the_same_packages_in_any_order_are_the_same_document(capsys: pytest.CaptureFixture[str]) -> None:
    components = list(SBOM["python_packages"](sys.path))
    assert SBOM["sbom"](components) == SBOM["sbom"](components[::-1])
    SBOM["main"]("/nowhere", *sys.path)
    assert json.loads(capsys.readouterr().out)["bomFormat"] == "CycloneDX"
