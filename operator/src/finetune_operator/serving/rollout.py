"""Rolling back: a template whose pods are not ready in time gives way to the last one that was available.

What is available or too late is the Deployment controller's own verdict; the memory of what was tried is an
annotation of the Deployment, so that neither a lost status nor a lost operator changes what comes next.
"""

import json
from dataclasses import asdict, dataclass
from typing import Self

from finetune_operator.core.digest import digest
from finetune_operator.core.labels import ROLLOUT
from finetune_operator.core.objects import Manifest
from finetune_operator.core.observed.deployment import ObservedDeployment
from finetune_operator.serving.trial import Trial


@dataclass(frozen=True, kw_only=True)
class Version:
    """A pod template, and the model that it serves."""

    model: str
    template: Manifest


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """What the Deployment is to run, and what it ran before."""

    attempt: str
    """Digest of the newest template that was tried, and of the time it was given."""
    newest: Version
    fallback: Version | None = None
    """The last version that was available."""
    rolled_back: bool = False
    overdue_before: str | None = None
    """When the version before this one was given up: the Deployment repeats that for a moment."""
    trial: Trial | None = None
    """Of the newest version beside the last one; None where it takes its place at once, or has."""

    @property
    def current(self) -> Version:
        """The version that the Deployment has."""
        keeps = self.rolled_back or (self.trial and not self.trial.replaces)
        return self.fallback if keeps and self.fallback else self.newest

    @classmethod
    def parse(cls, annotation: str) -> Self | None:
        """Return what an annotation holds, or None."""
        try:
            fields = json.loads(annotation)
            newest, fallback = Version(**fields.pop("newest")), fields.pop("fallback")
            trial = fields.pop("trial", None)
            return cls(
                newest=newest,
                fallback=Version(**fallback) if fallback else None,
                trial=Trial(**trial) if trial else None,
                **fields,
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


def next_rollout(
    desired: Manifest,
    model: str,
    seen: ObservedDeployment | None,
    *,
    may_roll_back: bool,
    trial: Trial | None = None,
) -> Rollout:
    """Return the rollout of a wanted Deployment, from what its predecessor came to.

    A version that was rolled back is not tried again before the template or its time changes.
    trial: of a version that is new, where it is tried beside the last one first.
    """
    spec = desired["spec"]
    newest = Version(model=model, template=spec["template"])
    attempt = digest([newest.template, spec["progressDeadlineSeconds"]])[:16]
    before = Rollout.parse(seen.rollout) if seen else None
    if seen is None or before is None:
        return Rollout(attempt=attempt, newest=newest)
    if before.attempt != attempt:
        fallback = before.current if seen.complete else before.fallback
        is_new = fallback is not None and digest(fallback.template) != digest(newest.template)
        return Rollout(
            attempt=attempt,
            newest=newest,
            fallback=fallback,
            overdue_before=seen.overdue_since,
            trial=trial if is_new else None,
        )
    overdue = seen.overdue_since not in (None, before.overdue_before)
    return Rollout(
        attempt=attempt,
        newest=newest,
        fallback=before.fallback,
        rolled_back=may_roll_back and before.fallback is not None and (before.rolled_back or overdue),
        overdue_before=before.overdue_before,
        trial=before.trial if trial else None,
    )


def with_rollout(desired: Manifest, rollout: Rollout) -> Manifest:
    """Return the Deployment with the template that it is to run, and with the memory of the others."""
    given = desired["metadata"].get("annotations", {})
    memory = asdict(rollout)
    if rollout.trial is None:
        del memory["trial"]
    annotations = {**given, ROLLOUT: json.dumps(memory, sort_keys=True)}
    return {
        **desired,
        "metadata": {**desired["metadata"], "annotations": annotations},
        "spec": {**desired["spec"], "template": rollout.current.template},
    }
