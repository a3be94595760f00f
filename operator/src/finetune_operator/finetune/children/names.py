"""Names and labels of the children. Those of a run have its id in them: another run has other children."""

from dataclasses import dataclass

from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.labels import RUN, child_labels
from finetune_operator.core.naming import child_name
from finetune_operator.core.objects import Manifest, Owner
from finetune_operator.core.outcome import claim_name
from finetune_operator.finetune.settings import settings_id
from finetune_operator.finetune.stages import Stage


@dataclass(frozen=True, kw_only=True)
class Names:
    """What the children of one run are called."""

    parent: str
    run: str
    config_map: str
    """The ConfigMap that holds run.json; another one where what may change has changed."""

    claim: str

    @property
    def service(self) -> str:
        """The headless Service of the training pods."""
        return child_name(self.parent, self.run)

    @property
    def policy(self) -> str:
        """The NetworkPolicy of the run's pods."""
        return child_name(self.parent, self.run)

    @property
    def outward_policy(self) -> str:
        """The NetworkPolicy of the stages that reach other hosts."""
        return child_name(self.parent, self.run, "outward")

    def job(self, stage: Stage, attempt: int) -> str:
        """The Job of one attempt of a stage."""
        return child_name(self.parent, self.run, stage, str(attempt))


def names_of(job: FineTuneJob, run: str) -> Names:
    """Return the names for a job's run."""
    parent = job.metadata.name
    config_map = child_name(parent, run, settings_id(job.spec))
    return Names(parent=parent, run=run, config_map=config_map, claim=claim_name(job))


def child_metadata(job: FineTuneJob, name: str, component: str, run: str | None = None) -> Manifest:
    """Return the metadata of a child of this job; with a run, of a child of that run."""
    labels = child_labels(job.metadata.name, component)
    return {
        "name": name,
        "namespace": job.metadata.namespace,
        "labels": {**labels, RUN: run} if run else labels,
        "ownerReferences": [owner_of(job).reference],
    }


def owner_of(job: FineTuneJob) -> Owner:
    """Return the job as the owner of its children."""
    return Owner(
        api_version=job.api_version,
        kind=job.kind,
        namespace=job.metadata.namespace,
        name=job.metadata.name,
        uid=job.metadata.uid,
    )
