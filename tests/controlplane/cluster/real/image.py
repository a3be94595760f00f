"""Images of one static program each, in docker's archive format: no registry is asked for them."""

import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path


def archive_of(program: bytes, name: str, path: str) -> bytes:
    """The image `name`, which has nothing but the program, at `path`, and runs it as nobody."""
    layer = _tar({path.lstrip("/"): program}, mode=0o755)
    configuration = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": [path], "User": "65535:65535"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    return _tar(
        {"manifest.json": json.dumps(manifest).encode(), "config.json": configuration, "layer.tar": layer}
    )


def compiled_pause(source: Path) -> bytes:
    """The first process of every pod, Kubernetes' own pause.c."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "pause")
        subprocess.run(["gcc", "-Os", "-static", "-DVERSION=1", "-o", program, source], check=True)
        return program.read_bytes()


def _tar(files: dict[str, bytes], mode: int = 0o644) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return written.getvalue()
