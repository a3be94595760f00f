"""Volumes of a pod as folders of this machine, and paths in a container as paths here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune_operator.core.objects import Manifest


@dataclass(frozen=True, kw_only=True)
class VolumeFolders:
    """Where volumes are: every claim is the storage folder; the rest has folders of its own."""

    claims: Path
    config_maps: Path
    scratch: Path
    """emptyDir volumes of one pod."""

    def folder_of(self, volume: Manifest) -> Path:
        """Return the folder that stands for a volume of a pod.

        Raises ValueError for a source that has no local counterpart.
        """
        if "persistentVolumeClaim" in volume:
            return self.claims
        if "configMap" in volume:
            return self.config_maps / str(volume["configMap"]["name"])
        if "emptyDir" in volume:
            return self.scratch / str(volume["name"])
        source = next(iter(volume.keys() - {"name"}), "no source")
        raise ValueError(f"a volume of {source} cannot be mounted on one machine")


@dataclass(frozen=True, kw_only=True)
class Mounts:
    """Mount paths of a container and the folders behind them."""

    folders: Mapping[str, Path]

    def localize(self, text: str) -> str:
        """Replace a mount path at the start of an argument, or after its first `=`."""
        for mount_path in sorted(self.folders, key=len, reverse=True):
            pattern = rf"^([^=/]*=)?{re.escape(mount_path)}(?=/|$)"
            here = str(self.folders[mount_path])
            text, found = re.subn(pattern, lambda m, here=here: (m.group(1) or "") + here, text)  # type: ignore[misc]
            if found:
                break
        return text


def mounts_of(pod_spec: Manifest, container: Manifest, volumes: VolumeFolders) -> Mounts:
    """Return a container's mounts. /dev/shm stays the machine's own."""
    by_name = {volume["name"]: volume for volume in pod_spec.get("volumes", [])}
    return Mounts(
        folders={
            mount["mountPath"]: volumes.folder_of(by_name[mount["name"]])
            for mount in container.get("volumeMounts", [])
            if mount["mountPath"] != "/dev/shm"
        }
    )
