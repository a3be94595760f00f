"""Labels and annotations of children.

https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/
"""

from finetune_operator.api import GROUP
from finetune_operator.core.naming import child_name

NAME = "app.kubernetes.io/name"
INSTANCE = "app.kubernetes.io/instance"
COMPONENT = "app.kubernetes.io/component"
PART_OF = "app.kubernetes.io/part-of"
MANAGED_BY = "app.kubernetes.io/managed-by"

RUN = f"{GROUP}/run"
ATTEMPT = f"{GROUP}/attempt"
SETTINGS = f"{GROUP}/settings"
"""Of a Job: what its stage read of what may change of a job that has started."""
SPEC_HASH = f"{GROUP}/spec-hash"
ROLLOUT = f"{GROUP}/rollout"
PROGRESS_PORT_LABEL = f"{GROUP}/progress-port"
"""Of a Job whose pods tell their progress at another port than the usual one."""

RETRIED_AT = f"{GROUP}/retried-at"
"""Annotation of a FineTuneJob: the failures up to this time are to be tried again."""
POD_INDEX = "batch.kubernetes.io/job-completion-index"
CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
"""The Job controller's own, of a pod of an Indexed Job."""
WORKER_INDEX = "leaderworkerset.sigs.k8s.io/worker-index"
"""LeaderWorkerSet's own, of each pod of a group: that of the leader is "0"."""
QUEUE_NAME = "kueue.x-k8s.io/queue-name"

MANAGER = "finetune-operator"
"""The value of managed-by, and the field manager of server-side apply."""


def selector_labels(parent: str, component: str) -> dict[str, str]:
    """Return the labels that select a component's pods; they never change (a selector is immutable)."""
    return {NAME: "finetune", INSTANCE: child_name(parent), COMPONENT: str(component)}


def child_labels(parent: str, component: str) -> dict[str, str]:
    """Return the labels of a child."""
    return {**selector_labels(parent, component), PART_OF: "finetune", MANAGED_BY: MANAGER}
