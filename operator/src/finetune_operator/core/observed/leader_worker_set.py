"""LeaderWorkerSets: groups of pods, each a server on several nodes, counted as a Deployment's pods are.

https://lws.sigs.k8s.io/docs/reference/leaderworkerset.v1/
"""

from finetune_operator.core.conditions import true_condition_of
from finetune_operator.core.objects import Manifest
from finetune_operator.core.observed.child import child_fields
from finetune_operator.core.observed.deployment import ObservedDeployment

LEADER_WORKER_SET = "LeaderWorkerSet"
LEADER_WORKER_SET_VERSION = "leaderworkerset.x-k8s.io/v1"


def observe_leader_worker_set(obj: Manifest) -> ObservedDeployment:
    """Return a LeaderWorkerSet, without its pods.

    It has no observedGeneration: while it updates, a condition says so. It knows no deadline.
    """
    status = obj.get("status", {})
    return ObservedDeployment(
        **child_fields(obj),
        up_to_date="conditions" in status and not true_condition_of(status, "UpdateInProgress"),
        replicas=status.get("replicas", 0),
        updated=status.get("updatedReplicas", 0),
        ready=status.get("readyReplicas", 0),
    )
