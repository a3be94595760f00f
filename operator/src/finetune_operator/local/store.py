"""The objects of the local engine, each a YAML file: what `kubectl get -o yaml` would show on a cluster."""

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import yaml

from finetune_operator.core.conditions import timestamp
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.kinds import observe
from finetune_operator.local.clock import Clock


class Store:
    """Stands for the API server: applies, deletes with dependents, and keeps generations."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._objects: dict[Ref, Manifest] = {}
        self._versions = count(1)
        self.observed = Cache()
        """What is there, as a reconcile sees it."""
        for path in sorted(folder.glob("*/*/*.yaml")):
            with suppress(FileNotFoundError):  # an engine has just removed it
                self._keep(yaml.safe_load(path.read_text()))

    def get(self, ref: Ref) -> Manifest | None:
        """Return an object, or None."""
        return self._objects.get(ref)

    def of_kind(self, kind: str, labels: Mapping[str, str] | None = None) -> Iterator[Manifest]:
        """Yield the objects of a kind that have all these labels."""
        wanted = (labels or {}).items()
        for ref, manifest in sorted(self._objects.items()):
            if ref.kind == kind and wanted <= manifest["metadata"].get("labels", {}).items():
                yield manifest

    def owned_by(self, uid: str) -> Iterator[Manifest]:
        """Yield the objects whose owner has that uid."""
        for _, manifest in sorted(self._objects.items()):
            if any(owner["uid"] == uid for owner in manifest["metadata"].get("ownerReferences", [])):
                yield manifest

    def apply(self, manifest: Manifest) -> Manifest:
        """Create or replace an object; its status stays, and its generation counts changes of the spec."""
        ref = Ref.of(manifest)
        before = self._objects.get(ref)
        metadata = dict(manifest["metadata"])
        if before is None:
            metadata |= {
                "uid": str(uuid.uuid4()),
                "generation": 1,
                "creationTimestamp": timestamp(self._clock.now()),
            }
            status = {}
        else:
            changed = before.get("spec") != manifest.get("spec")
            kept = ("uid", "creationTimestamp", "deletionTimestamp")
            metadata |= {key: before["metadata"][key] for key in kept if key in before["metadata"]}
            metadata["generation"] = before["metadata"]["generation"] + changed
            status = {"status": before["status"]} if "status" in before else {}
        return self._write({**manifest, "metadata": metadata, **status})

    def set_status(self, ref: Ref, status: Manifest) -> None:
        """Replace an object's status, if the object is there and the status is another."""
        manifest = self._objects.get(ref)
        if manifest is not None and manifest.get("status") != status:
            self._write({**manifest, "status": status})

    def mark_deleted(self, ref: Ref) -> None:
        """Give an object its deletion timestamp; whoever runs it removes it when its pods are gone."""
        manifest = self._objects.get(ref)
        if manifest is not None and "deletionTimestamp" not in manifest["metadata"]:
            metadata = {**manifest["metadata"], "deletionTimestamp": timestamp(self._clock.now())}
            self._write({**manifest, "metadata": metadata})

    def remove(self, ref: Ref) -> None:
        """Remove an object and, as garbage collection does, what it owns."""
        manifest = self._objects.pop(ref, None)
        if manifest is None:
            return
        self._path(ref).unlink(missing_ok=True)
        self.observed.drop(observe(manifest))
        for dependent in list(self.owned_by(manifest["metadata"]["uid"])):
            self.remove(Ref.of(dependent))

    def _path(self, ref: Ref) -> Path:
        return self._folder / ref.namespace / ref.kind.lower() / f"{ref.name}.yaml"

    def _write(self, manifest: Manifest) -> Manifest:
        ref = Ref.of(manifest)
        path = self._path(ref)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True))
        os.replace(partial, path)
        return self._keep(manifest)

    def _keep(self, manifest: Manifest) -> Manifest:
        self._objects[Ref.of(manifest)] = manifest
        self.observed.put(replace(observe(manifest), version=next(self._versions)))
        return manifest
