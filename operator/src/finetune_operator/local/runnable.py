"""Manifests as this machine can run them, looked at before anything is started."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from finetune_operator.core.config import Config
from finetune_operator.core.objects import Manifest
from finetune_operator.local.capacity import check_capacity
from finetune_operator.local.changed_data import changed_data_notice
from finetune_operator.local.cluster_only import check_models, without_what_only_clusters_have
from finetune_operator.local.environments import Environments
from finetune_operator.local.layout import Layout


@dataclass(frozen=True, kw_only=True)
class Runnable:
    """What an engine of this machine is given."""

    manifests: tuple[Manifest, ...]
    environments: Environments
    warnings: tuple[str, ...]
    """What is to be said before: fields that are left out, a dataset that has changed."""

    @classmethod
    def of(cls, layout: Layout, manifests: Sequence[Manifest]) -> Self:
        """Look at what manifests need. Raises LocalError when this machine has too little."""
        check_capacity(manifests)
        check_models(manifests)
        found = [without_what_only_clusters_have(manifest) for manifest in manifests]
        environments = Environments.find(Config().images)
        kept = tuple(manifest for manifest, _ in found)
        environments.check(kept)
        left_out = [field for _, fields in found for field in fields]
        jobs = [manifest for manifest in kept if manifest["kind"] == "FineTuneJob"]
        notices = [changed_data_notice(layout.storage, job) for job in jobs]
        return cls(
            manifests=kept,
            environments=environments,
            warnings=(
                *(f"{field} is for clusters, and left out on one machine." for field in left_out),
                *(f"{notice}." for notice in notices if notice),
            ),
        )
