import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
RUNTIME: dict[str, Any] = runpy.run_path(str(ROOT / "images/operator/runtime.py"))

LDD = """/usr/bin/python3.11:
\tlinux-vdso.so.1 (0x00007ffce81a4000)
\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f5a14f3e000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f5a15031000)
/opt/venv/a.so:
\tlibffi.so.8 => /usr/local/lib/libffi.so.8 (0x00007f5a14f3e000)
\tstatically linked
"""


def test_a_library_is_found_however_it_is_named() -> None:
    found = {"/lib/x86_64-linux-gnu/libm.so.6", "/lib64/ld-linux-x86-64.so.2", "/usr/local/lib/libffi.so.8"}
    assert RUNTIME["linked"](LDD) == set(map(Path, found))


def test_a_library_that_is_not_there_ends_the_build() -> None:
    with pytest.raises(FileNotFoundError, match=r"libnone\.so\.1"):
        RUNTIME["linked"]("\tlibnone.so.1 => not found\n")


def test_packages_are_those_whose_files_were_copied(tmp_path: Path) -> None:
    """Debian's lists name /lib, which is a link to /usr/lib."""
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/libc.so.6").touch()
    (tmp_path / "lib").symlink_to("usr/lib")
    lists = tmp_path / "libc6:amd64.list", tmp_path / "perl.list"
    lists[0].write_text(f"/.\n{tmp_path}/lib\n{tmp_path}/lib/libc.so.6\n")
    lists[1].write_text(f"/.\n{tmp_path}/usr\n{tmp_path}/usr/lib\n{tmp_path}/usr/lib/perl\n")
    assert RUNTIME["packages_of"]({tmp_path / "usr/lib/libc.so.6"}, lists) == {"libc6"}


STATUS = """Package: gcc-12-base
Source: gcc-12
Version: 12.2.0-14

Package: libc6
Source: glibc
Version: 2.36

Package: libgcc-s1
Source: gcc-12 (12.2.0-14)
Version: 12.2.0-14+b1
"""


def test_dpkg_s_list_keeps_whole_paragraphs() -> None:
    paragraphs = RUNTIME["paragraphs_of"](STATUS)
    assert list(paragraphs) == ["gcc-12-base", "libc6", "libgcc-s1"]
    assert paragraphs["libc6"] == "Package: libc6\nSource: glibc\nVersion: 2.36\n\n"


def test_a_licence_may_be_with_another_package_of_the_source() -> None:
    found = RUNTIME["licences_of"]("libgcc-s1", RUNTIME["paragraphs_of"](STATUS))
    names = ["libgcc-s1", "gcc-12-base", "libgcc-s1"]
    assert found == [Path(f"/usr/share/doc/{name}/copyright") for name in names]


def test_the_image_keeps_the_apis_of_kubernetes_client_that_are_asked() -> None:
    sources = [path.read_text() for path in (ROOT / "operator/src").rglob("*.py")]
    asked = {name for text in sources for name in re.findall(r"\bclient\.(\w+)Api\(", text)}
    dockerfile = (ROOT / "images/operator/Dockerfile").read_text()
    kept = {name.replace("_", "") for name in re.findall(r"! -name '(\w+)_api", dockerfile)}
    assert kept == {name.lower() for name in asked}


def test_the_operator_itself_asks_by_paths() -> None:
    """Of the asynchronous client the image has no methods and no models."""
    sources = [path.read_text() for path in (ROOT / "operator/src").rglob("*.py")]
    imported = {name for text in sources for name in re.findall(r"from kubernetes\.aio\S* import (.+)", text)}
    assert imported == {"ApiClient", "ApiClient, Configuration", "ApiException", "config"}
