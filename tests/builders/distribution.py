"""CNCF Distribution, a registry that others wrote: built from its Go module, and run with a login.

`make registry-program` builds it once into the user's cache, outside of any test's clock.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "controlplane"))

from cluster import binaries
from waiting import until

USER, PASSWORD = "user", "pass"
_HTPASSWD = "user:$2b$05$abcdefghijklmnopqrstuuZFBUbfXoM8LFiPx8LYlO/sXZB/Cwk3K\n"
_SOURCE = Path(__file__).parents[1] / "component/converter/push/registry"
_MODULE, _NAME = "github.com/distribution/distribution/v3", "registry"


def build() -> Path:
    """The program, built if the cache lacks it. Safe to call from several processes."""
    return binaries.build_once(*_recipe()) / _NAME


@contextmanager
def running_registry(folder: Path) -> Iterator[str]:
    """Its host and port. Only USER may read and write, with PASSWORD."""
    folder.mkdir()
    (folder / "htpasswd").write_text(_HTPASSWD)
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "blobs")}},
        "http": {"addr": "127.0.0.1:0"},
        "auth": {"htpasswd": {"realm": "models", "path": str(folder / "htpasswd")}},
    }
    (folder / "config.yml").write_text(json.dumps(config))
    program, log = (
        binaries.built(binaries.target_of(*_recipe()) / _NAME, "make registry-program"),
        folder / "log",
    )
    with log.open("wb") as written:
        command = [program, "serve", folder / "config.yml"]
        process = subprocess.Popen(command, stdout=written, stderr=subprocess.STDOUT)

    def address() -> str | None:
        assert process.poll() is None, log.read_text()
        found = re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text())
        return found and found[1]

    try:
        yield until("the registry's address", address)
    finally:
        process.terminate()
        process.wait()


def _recipe() -> tuple[str, Path, dict[str, str], str]:
    version = binaries.module_version(_MODULE, _SOURCE)
    package = re.search(r"^module (\S+)", (_SOURCE / "go.mod").read_text(), re.MULTILINE)
    assert package
    return f"distribution-{version}", _SOURCE, {_NAME: package[1]}, "-s -w"


if __name__ == "__main__":
    print(build())
