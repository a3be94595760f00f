"""A server on several nodes: a LeaderWorkerSet, of whose groups the leaders answer."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError
from serving_plans import CONFIG, NOW, READY

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.observed.child import ObservedChild
from finetune_operator.core.observed.deployment import ObservedDeployment
from finetune_operator.core.observed.leader_worker_set import observe_leader_worker_set
from finetune_operator.core.plan import Plan
from finetune_operator.serving import Observed
from finetune_operator.serving.reconcile import reconcile

Builder = Callable[..., ModelDeployment]
INSTALLED = replace(CONFIG, has_leader_worker_sets=True)
TWO = {"nodes": 2, "tensorParallelSize": 16}


def plan(parent: ModelDeployment, *, installed: bool = True, **observed: Any) -> Plan:
    config = INSTALLED if installed else CONFIG
    return reconcile(parent, Observed(jobs={"faq": READY}, **observed), NOW, config)


def conditions(plan: Plan) -> dict[str, Manifest]:
    return {c["type"]: c for c in plan.status["conditions"]}


def of_kind(plan: Plan, kind: str) -> Manifest:
    (found,) = (child for child in plan.apply if child["kind"] == kind)
    return found


def container(template: Manifest) -> Manifest:
    (found,) = template["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def test_one_group_a_replica_and_one_pod_a_node(deployment: Builder) -> None:
    made = of_kind(plan(deployment(**TWO, replicas=3)), "LeaderWorkerSet")
    template = made["spec"]["leaderWorkerTemplate"]
    assert made["metadata"]["name"] == "faq-nodes"
    assert (made["spec"]["replicas"], template["size"]) == (3, 2)
    assert template["restartPolicy"] == "RecreateGroupOnPodRestart"
    for each in ("leaderTemplate", "workerTemplate"):
        assert container(template[each])["resources"]["limits"] == {"nvidia.com/gpu": 8}


def test_the_leader_answers_and_workers_wait_for_it(deployment: Builder) -> None:
    template = of_kind(plan(deployment(**TWO)), "LeaderWorkerSet")["spec"]["leaderWorkerTemplate"]
    leader, worker = container(template["leaderTemplate"]), container(template["workerTemplate"])
    met = "--nnodes 2 --node-rank $(LWS_WORKER_INDEX) --master-addr $(LWS_LEADER_ADDRESS) --master-port 29501"
    assert " ".join(leader["args"]).endswith(met)
    assert worker["args"] == [*leader["args"], "--headless"]
    assert worker["command"] == leader["command"]
    assert {"startupProbe", "readinessProbe", "livenessProbe"} < leader.keys()
    assert not {"startupProbe", "readinessProbe", "livenessProbe", "ports"} & worker.keys()


def test_workers_are_told_of_no_api(deployment: Builder) -> None:
    """vLLM's --headless refuses it."""
    adapters = [{"name": "terms", "uri": "adapters/terms"}]
    template = of_kind(plan(deployment(**TWO, adapters=adapters)), "LeaderWorkerSet")["spec"]
    leader, worker = (
        container(template["leaderWorkerTemplate"][each])["args"]
        for each in ("leaderTemplate", "workerTemplate")
    )
    assert set(leader) - set(worker) == {"--api-server-count=1"}


def test_clients_reach_leaders_and_pods_each_other(deployment: Builder) -> None:
    made = plan(deployment(**TWO))
    labels = of_kind(made, "LeaderWorkerSet")["spec"]["leaderWorkerTemplate"]["workerTemplate"]["metadata"]
    leaders = {**labels["labels"], "leaderworkerset.sigs.k8s.io/worker-index": "0"}
    assert of_kind(made, "Service")["spec"]["selector"] == leaders
    assert "leaderworkerset.sigs.k8s.io/worker-index=0" in made.status["selector"]
    pods = {"podSelector": {"matchLabels": labels["labels"]}}
    policy = of_kind(made, "NetworkPolicy")["spec"]
    assert policy["ingress"] == [{"ports": [{"port": 8000, "protocol": "TCP"}]}, {"from": [pods]}]
    assert policy["egress"][1:] == [{"to": [pods]}]


def test_without_the_api_it_is_refused_and_says_what_to_install(deployment: Builder) -> None:
    refused = plan(deployment(**TWO), installed=False)
    assert not {"Deployment", "LeaderWorkerSet"} & {child["kind"] for child in refused.apply}
    stalled = conditions(refused)["Stalled"]
    assert (stalled["status"], stalled["reason"]) == ("True", "LeaderWorkerSetNotInstalled")
    assert stalled["message"] == (
        "A server on 2 nodes is a LeaderWorkerSet, and this cluster has no leaderworkerset.x-k8s.io/v1: "
        "install it (https://lws.sigs.k8s.io), or set nodes to 1"
    )


@pytest.mark.parametrize(
    ("status", "available", "progressing"),
    [
        pytest.param({}, "False", "True", id="just made"),
        pytest.param(
            {"readyReplicas": 0, "updatedReplicas": 1, "conditions": []}, "False", "True", id="loading"
        ),
        pytest.param(
            {"readyReplicas": 1, "updatedReplicas": 1, "conditions": []}, "True", "False", id="ready"
        ),
        pytest.param(
            {
                "readyReplicas": 1,
                "updatedReplicas": 1,
                "conditions": [{"type": "UpdateInProgress", "status": "True"}],
            },
            "True",
            "True",
            id="another one comes",
        ),
    ],
)
def test_ready_when_every_group_is(
    deployment: Builder, objects: Any, status: Manifest, available: str, progressing: str
) -> None:
    seen = observe_leader_worker_set(objects.make("LeaderWorkerSet", "faq-nodes", spec={}, status=status))
    found = conditions(plan(deployment(**TWO), deployment=seen))
    assert found["Available"]["status"] == available
    assert found["Progressing"]["status"] == progressing


@pytest.mark.parametrize(
    ("nodes", "there", "goes"),
    [
        pytest.param(2, "Deployment", True, id="from one node to two"),
        pytest.param(2, "LeaderWorkerSet", False, id="still two"),
        pytest.param(1, "LeaderWorkerSet", True, id="from two to one"),
        pytest.param(1, "Deployment", False, id="still one"),
    ],
)
def test_servers_of_the_other_kind_go(deployment: Builder, nodes: int, there: str, goes: bool) -> None:
    ref = Ref(api_version="x/v1", kind=there, namespace="default", name="faq")
    made = plan(deployment(nodes=nodes, tensorParallelSize=8), children={ref: ObservedChild(ref=ref)})
    assert made.delete == ((ref,) if goes else ())


def test_a_server_that_crashes_is_told(deployment: Builder) -> None:
    ref = Ref(api_version="x/v1", kind="LeaderWorkerSet", namespace="default", name="faq-nodes")
    found = conditions(plan(deployment(**TWO), deployment=ObservedDeployment(ref=ref, replicas=1)))
    assert found["Available"]["reason"] == "Loading"


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        pytest.param({"nodes": 3, "tensorParallelSize": 8}, "evenly", id="uneven"),
        pytest.param({"nodes": 2, "dataParallelSize": 3, "tensorParallelSize": 2}, "amid", id="half a copy"),
        pytest.param({"nodes": 2, "engineArgs": ["--nnodes=2"]}, "nodes is how many", id="twice"),
    ],
)
def test_refused(deployment: Builder, spec: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        deployment(**{"tensorParallelSize": 2, **spec})


@pytest.mark.parametrize(("data", "nodes"), [(16, 2), (2, 4), (4, 4)])
def test_copies_on_whole_nodes(deployment: Builder, data: int, nodes: int) -> None:
    assert deployment(dataParallelSize=data, nodes=nodes, tensorParallelSize=4).spec.gpus_per_pod > 0
