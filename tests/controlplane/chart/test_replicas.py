"""Several replicas of the operator: updated, kept apart and drained one at a time; a Lease a release."""

from rendered import NAMESPACE, RELEASE, config, of_kind, one, render


def test_an_update_keeps_a_replica_that_leads_until_another_is_ready() -> None:
    spec = one(render(), "Deployment")["spec"]
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert (spec["replicas"], spec["strategy"]) == (2, strategy)
    assert one(render("replicas=1"), "Deployment")["spec"]["strategy"] == strategy


def test_replicas_are_kept_apart_and_drained_one_at_a_time() -> None:
    objects = render()
    deployment = one(objects, "Deployment")["spec"]
    spread = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in spread] == [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    ]
    for each in spread:
        assert each["whenUnsatisfiable"] == "ScheduleAnyway"
        assert each["labelSelector"] == deployment["selector"]
    budget = one(objects, "PodDisruptionBudget")["spec"]
    assert (budget["maxUnavailable"], budget["selector"]) == (1, deployment["selector"])


def test_releases_have_a_lease_each_that_only_they_may_write() -> None:
    for release, name in (("ml", "ml-finetune-operator"), (RELEASE, RELEASE)):
        objects = render(release=release)
        lease = config(objects)["leaderElection"]
        assert (lease["resourceNamespace"], lease["resourceName"]) == (NAMESPACE, name)
        (role,) = of_kind(objects, "Role")
        assert role["metadata"]["namespace"] == NAMESPACE
        assert role["rules"] == [
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
            {
                "apiGroups": ["coordination.k8s.io"],
                "resources": ["leases"],
                "resourceNames": [name],
                "verbs": ["get", "update"],
            },
        ]
