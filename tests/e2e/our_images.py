"""Our images in the cluster's registry, each under what it is built from, so that it is built once."""

import hashlib
import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

from cluster.real.node import REGISTRY

ROOT = Path(__file__).parents[2]
REPOSITORY = f"{REGISTRY}/finetune"
OWN_BASE = "localhost/image-base"
UV_CACHE = Path.home() / ".cache/uv"


def tag(image: str) -> str:
    """The hash of its Dockerfile, of every file that this copies, and of the base."""
    dockerfile = ROOT / "images" / image / "Dockerfile"
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile.read_text(), re.MULTILINE)
    sources = [str(dockerfile.relative_to(ROOT)), "images/slim.sh", *" ".join(copied).split()]
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *sources]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    digest = hashlib.sha256(_base().encode())
    for name in sorted(filter(None, names)):
        if (path := ROOT / name).exists():
            digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def push(*images: str) -> None:
    """By the rule that users have, for CPUs. `BUILD_FLAGS`, `BASE`: as for `make images`."""
    for image in images:
        if tag(image) not in _tags(image):
            _build(image)


def _tags(image: str) -> list[str]:
    try:
        with urllib.request.urlopen(f"http://{REGISTRY}/v2/finetune/{image}/tags/list") as answer:
            return list(json.load(answer)["tags"])
    except HTTPError as nothing_yet:
        nothing_yet.close()
        return []


def _build(image: str) -> None:
    if _base() == OWN_BASE and _run("buildah", "inspect", OWN_BASE, check=False):
        _run("make", "--no-print-directory", "image-base")
    variables = {
        "REGISTRY": REPOSITORY,
        "IMAGES": image,
        "TAG": tag(image),
        "BUILDER": "buildah",
        "BASE": _base(),
        "DEVICE": "cpu",
        "BUILD_FLAGS": os.environ.get("BUILD_FLAGS") or " ".join(_build_flags()),
        "PUSH_FLAGS": "--tls-verify=false --compression-format=zstd",
    }
    _run("make", "--no-print-directory", "images", *(f"{name}={value}" for name, value in variables.items()))


def _build_flags() -> Iterator[str]:
    """What this machine installs packages with: its cache of them, and whose certificates it trusts."""
    if UV_CACHE.is_dir():
        yield f"--volume {UV_CACHE}:{UV_CACHE} --build-arg UV_NO_CACHE=false"
    if certificates := os.environ.get("PIP_CERT"):
        folder = Path(certificates).parent
        yield f"--volume {folder}:{folder}:ro"
        yield from (f"--build-arg {name}={certificates}" for name in ("SSL_CERT_FILE", "PIP_CERT"))


def _run(*command: str, check: bool = True) -> int:
    """Without the variables that make hands down, which would win over those of the command."""
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKEOVERRIDES")
    }
    environment = {"BUILDAH_ISOLATION": "chroot"} | inherited
    return subprocess.run(
        command, cwd=ROOT, env=environment, check=check, stdout=subprocess.DEVNULL
    ).returncode


def _base() -> str:
    return os.environ.get("BASE") or OWN_BASE
