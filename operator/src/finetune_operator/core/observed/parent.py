"""FineTuneJobs and ModelDeployments: kept whole, as what they want and what was said of them."""

from dataclasses import dataclass, replace
from typing import Any, Self

from finetune_operator.api import API_VERSION
from finetune_operator.core.labels import RETRIED_AT
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.observed.child import ObservedChild, child_fields, packed_spec_of
from finetune_operator.core.observed.kept import keep, kept


@dataclass(frozen=True, kw_only=True, slots=True)
class ObservedParent(ObservedChild):
    """An object of ours. A ModelDeployment may be the child of a FineTuneJob too."""

    generation: int = 1
    packed_status: bytes = keep({})
    retried_at: str = ""
    """Our annotation; empty where nobody has asked for another try."""
    jobs: tuple[str, ...] = ()
    """Names of the FineTuneJobs, of its namespace, that it needs."""

    @property
    def status(self) -> Manifest:
        """What was said of it."""
        return kept(self.packed_status)

    @property
    def manifest(self) -> Manifest:
        """The object as its API model reads it."""
        return {
            "apiVersion": self.ref.api_version,
            "kind": self.ref.kind,
            "metadata": {
                "name": self.ref.name,
                "namespace": self.ref.namespace,
                "uid": self.uid,
                "generation": self.generation,
                **({"annotations": {RETRIED_AT: self.retried_at}} if self.retried_at else {}),
            },
            "spec": self.spec,
            "status": self.status,
        }

    @property
    def conditions(self) -> list[dict[str, Any]]:
        """The conditions of its status."""
        conditions: list[dict[str, Any]] = self.status.get("conditions", [])
        return conditions

    @property
    def named_jobs(self) -> set[Ref]:
        """The FineTuneJobs that it needs."""
        return {
            Ref(api_version=API_VERSION, kind="FineTuneJob", namespace=self.ref.namespace, name=name)
            for name in self.jobs
        }

    def with_spec(self, **fields: Any) -> Self:
        """Return it with other values of fields of its spec."""
        return replace(self, packed_spec=keep({**(self.spec or {}), **fields}))


def observe_parent(obj: Manifest) -> ObservedParent:
    """Return an object of ours."""
    fields = {**child_fields(obj), "packed_spec": packed_spec_of(obj)}
    metadata, status = obj["metadata"], keep(obj.get("status", {}))
    retried_at = (metadata.get("annotations") or {}).get(RETRIED_AT, "")
    return ObservedParent(
        **fields,
        generation=metadata.get("generation", 1),
        packed_status=status,
        retried_at=retried_at,
        jobs=_jobs(obj.get("spec", {})),
    )


def _jobs(spec: Manifest) -> tuple[str, ...]:
    """Return the jobs whose model or adapter a spec names."""
    sources = (spec.get("model", {}), *spec.get("adapters", []), spec.get("lora", {}).get("from", {}))
    return tuple(sorted({each["fineTuneJobRef"]["name"] for each in sources if "fineTuneJobRef" in each}))
