"""Where things are under the storage folder. What the volume holds is in contract/README.md."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The storage folder is the volume's root; the engine's own folders are beside models/ and runs/."""

    storage: Path

    @property
    def objects(self) -> Path:
        """status/NAMESPACE/KIND/NAME.yaml: every object as a cluster would show it."""
        return self.storage / "status"

    @property
    def lock(self) -> Path:
        """Held by the one engine that runs here."""
        return self.storage / ".engine" / "lock"

    def log(self, namespace: str, pod: str) -> Path:
        """Return the file of a pod's output."""
        return self.storage / "logs" / namespace / f"{pod}.log"

    def scratch(self, namespace: str, pod: str) -> Path:
        """Return the folder of a pod's emptyDir volumes; gone when the pod is."""
        return self.storage / ".engine" / "pods" / namespace / pod

    def config_maps(self, namespace: str) -> Path:
        """Return the folder of a namespace's ConfigMaps as files."""
        return self.storage / ".engine" / "configmaps" / namespace
