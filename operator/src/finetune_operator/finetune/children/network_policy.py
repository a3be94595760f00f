"""The NetworkPolicies of a run: its pods reach each other and names, and nobody else reaches them.

Whoever reaches the rendezvous can disturb a training, and more (docs/adr/0011): this is its boundary.
Policies add up, so that a job needs no other one in a namespace that denies everything.
"""

from finetune_operator.api.job import FineTuneJob, FineTuneJobSpec
from finetune_operator.core.config import Config
from finetune_operator.core.labels import COMPONENT, INSTANCE, RUN, child_labels
from finetune_operator.core.network import TO_DNS, policy_spec, tcp
from finetune_operator.core.objects import Manifest
from finetune_operator.finetune.children.names import Names, child_metadata
from finetune_operator.finetune.stages import Stage

_REMOTE = ("hf://", "s3://")
_WANDB = "metrics.enable_wandb"


def desired_network_policies(job: FineTuneJob, names: Names, config: Config) -> list[Manifest]:
    """Return the policy of all pods of a run, and that of the stages that go to other hosts, if any do."""
    policies = [_policy(job, names, names.policy, "network", _among_each_other(job, names, config))]
    if stages := _outward(job.spec):
        outward = {
            "podSelector": {
                "matchLabels": _pods_of(names),
                "matchExpressions": [{"key": COMPONENT, "operator": "In", "values": sorted(stages)}],
            },
            "policyTypes": ["Egress"],
            # Hubs, buckets, registries and proxies have no addresses that a policy could name.
            "egress": [{}],
        }
        policies.append(_policy(job, names, names.outward_policy, "network-outward", outward))
    return policies


def _policy(job: FineTuneJob, names: Names, name: str, component: str, spec: Manifest) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": child_metadata(job, name, component, names.run),
        "spec": spec,
    }


def _among_each_other(job: FineTuneJob, names: Names, config: Config) -> Manifest:
    """Return the spec: NCCL, gloo and the store take any port between a run's pods."""
    pods = {"podSelector": {"matchLabels": _pods_of(names)}}
    asks = {"from": list(config.progress_from)} if config.progress_from else {}
    return policy_spec(
        _pods_of(names),
        ingress=[{"from": [pods]}, {**asks, "ports": tcp(job.spec.workers.ports.progress)}],
        egress=[{"to": [pods]}, TO_DNS],
    )


def _pods_of(names: Names) -> dict[str, str]:
    """Return the labels that all pods of a run have, and no others."""
    labels = child_labels(names.parent, "any")
    return {INSTANCE: labels[INSTANCE], RUN: names.run}


def _outward(spec: FineTuneJobSpec) -> set[str]:
    """Return the stages that reach hosts outside the run."""
    adapter = (spec.lora.from_.uri or "",) if spec.lora.from_ else ()
    tasks = [task.uri for task in spec.evaluation.tasks] if spec.evaluation else []
    uris = (spec.model.uri, *adapter, *(source.uri for source in spec.dataset.each), *tasks)
    fetches = any(uri.startswith(_REMOTE) for uri in uris)
    tells = spec.training.overrides.get(_WANDB) is True or bool(spec.tracking and spec.tracking.goes_out)
    return {
        *({Stage.PREPARE.value} if fetches else ()),
        *({Stage.TRAIN.value} if tells else ()),
        *({Stage.PUSH.value} if spec.export.push else ()),
    }
