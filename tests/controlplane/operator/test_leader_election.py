"""What replicas say of themselves, and who may write the Lease; test_restarts.py changes the leader."""

import urllib.request

import pytest
from cluster.operator_pod import OperatorPod
from kubernetes import client
from parents import Parents, job_spec
from replicas import leader_of, replicas_of
from waiting import until


def metrics(port: int) -> list[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return [line for line in answer.read().decode().splitlines() if not line.startswith("#")]


@pytest.mark.usefixtures("stages_succeed")
def test_one_leads_and_says_so_and_the_other_is_ready(
    operator: OperatorPod, api: client.ApiClient, parents: Parents
) -> None:
    with operator.paused(), replicas_of(operator, 2) as replicas:
        for replica in replicas:
            replica.until_ready()
        leader = until("a leader", lambda: leader_of(api, replicas))
        (standby,) = (replica for replica in replicas if replica is not leader)
        parents.create("FineTuneJob", "faq", job_spec())
        parents.until("FineTuneJob", "faq", "Complete")
        until(
            "the leader's word",
            lambda: (
                'leader_election_master_status{name="finetune-operator"} 1.0' in metrics(leader.metrics_port)
            ),
        )
        told = metrics(standby.metrics_port)
    assert 'leader_election_master_status{name="finetune-operator"} 0.0' in told
    # What only one may say, or sums over replicas would be wrong.
    assert not [line for line in told if line.startswith(("finetune_job_", "finetune_queue_"))]
    requests = [line for line in told if line.startswith("finetune_api_requests_total")]
    assert all('resource="leases"' in line for line in requests)


def test_a_replica_that_may_not_write_the_lease_is_not_ready_and_does_nothing(
    operator: OperatorPod, api: client.ApiClient, parents: Parents
) -> None:
    rbac, name = client.RbacAuthorizationV1Api(api), "finetune-operator-leader-election"
    binding = rbac.read_namespaced_role_binding(name, "finetune-system")
    with operator.paused():
        rbac.delete_namespaced_role_binding(name, "finetune-system")
        try:
            with replicas_of(operator, 1) as (replica,):
                log = replica.forked.log
                until("a refusal", lambda: "leases" in log.read_text() and "is forbidden" in log.read_text())
                parents.create("FineTuneJob", "faq", job_spec())
                rbac.create_namespaced_role_binding("finetune-system", _again(binding))
                replica.until_ready()
                until("a run", lambda: (parents.get("FineTuneJob", "faq") or {}).get("status", {}).get("run"))
        finally:
            if not _exists(rbac, name):
                rbac.create_namespaced_role_binding("finetune-system", _again(binding))


def _again(binding: client.V1RoleBinding) -> client.V1RoleBinding:
    metadata = client.V1ObjectMeta(name=binding.metadata.name, labels=binding.metadata.labels)
    return client.V1RoleBinding(metadata=metadata, role_ref=binding.role_ref, subjects=binding.subjects)


def _exists(rbac: client.RbacAuthorizationV1Api, name: str) -> bool:
    listed = rbac.list_namespaced_role_binding("finetune-system", field_selector=f"metadata.name={name}")
    return bool(listed.items)
