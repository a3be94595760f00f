"""Python environments of this machine that stand for container images."""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from finetune_operator.core.config import Images
from finetune_operator.core.objects import Manifest
from finetune_operator.local.errors import LocalError


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A folder of programs, as a virtual environment's bin is, and the module that must be in it."""

    name: str
    bin: Path
    module: str

    def resolve(self, program: str) -> str:
        """Return the full path of a program, or the name as it is where the environment lacks it."""
        path = self.bin / program
        return str(path) if path.exists() else program

    def check(self, *further: str) -> None:
        """Raise LocalError when the environment cannot run its image's commands, or lacks further modules."""
        for module in (self.module, *further):
            self._check(module)

    def _check(self, module: str) -> None:
        code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
        python = self.bin / "python"
        if not python.exists() or subprocess.run([python, "-c", code], check=False).returncode != 0:
            raise LocalError(
                f"there is no environment for the {self.name} image: {self.bin} has no {module}",
                f"make it with `make envs`, or name the folder that holds {self.name}/ in FINETUNE_ENVS",
            )


# Image -> folder of its environment and the module that its commands run.
_FOLDERS = {
    "trainer": ("trainer", "finetune_trainer"),
    "converter": ("converter", "finetune_converter"),
    "server": ("server-cpu", "vllm"),
}


@dataclass(frozen=True, kw_only=True)
class Environments:
    """The environment of every image."""

    by_image: Mapping[str, Environment]

    @classmethod
    def find(cls, images: Images) -> Self:
        """Look in $FINETUNE_ENVS, or ./.envs; what is not there runs in this interpreter's environment."""
        root = Path(os.environ.get("FINETUNE_ENVS", ".envs")).absolute()
        by_image = {}
        for image, (folder, module) in _FOLDERS.items():
            bin_folder = root / folder / "bin"
            if not bin_folder.is_dir():
                bin_folder = Path(sys.executable).parent
            by_image[getattr(images, image)] = Environment(name=image, bin=bin_folder, module=module)
        return cls(by_image=by_image)

    def check(self, manifests: Iterable[Manifest]) -> None:
        """Raise LocalError when an image that manifests need has no environment here."""
        manifests = list(manifests)
        needed = {image for manifest in manifests for image in _images_of(manifest)}
        # An evaluation runs our command beside vLLM.
        asks = any(manifest["spec"].get("evaluation") is not None for manifest in manifests)
        for environment in self.by_image.values():
            if environment.name in needed:
                is_asked = asks and environment.name == "server"
                environment.check(*((_FOLDERS["converter"][1],) if is_asked else ()))

    def of(self, image: str) -> Environment:
        """Return the environment of an image. Raises LocalError when there is none."""
        if image not in self.by_image:
            raise LocalError(
                f"the image {image} has no environment on this machine", "use the operator's own images"
            )
        return self.by_image[image]


def _images_of(manifest: Manifest) -> set[str]:
    """Return the images that an object's children run."""
    if manifest["kind"] == "ModelDeployment":
        return {"server"}
    spec = manifest["spec"]
    converter = set() if spec.get("export", {}).get("adapterOnly") else {"converter"}
    is_asked = any(spec.get(name) is not None for name in ("deployment", "evaluation"))
    return {"trainer"} | converter | ({"server"} if is_asked else set())
