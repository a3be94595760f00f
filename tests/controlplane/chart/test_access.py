"""What the operator's service account may do, as the API server says: what it needs, and nothing else."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.commands import Run
from rendered import CHART, NAMESPACE, RELEASE
from waiting import until

HERE = ("--namespace", NAMESPACE)
OPERATOR = f"--as=system:serviceaccount:{NAMESPACE}:{RELEASE}"
GOLDEN = Path(__file__).parents[2] / "golden/children"

CHILD = {"get", "list", "watch", "create", "patch", "delete"}
ALLOWED = {
    "finetunejobs.finetune.dev": CHILD - {"create"},
    "modeldeployments.finetune.dev": CHILD,
    "finetunejobs.finetune.dev/status": {"patch"},
    "modeldeployments.finetune.dev/status": {"patch"},
    "finetunejobs.finetune.dev/finalizers": {"update"},
    "modeldeployments.finetune.dev/finalizers": {"update"},
    "jobs.batch": CHILD,
    "deployments.apps": CHILD,
    "leaderworkersets.leaderworkerset.x-k8s.io": CHILD,
    "httproutes.gateway.networking.k8s.io": CHILD,
    "scaledobjects.keda.sh": CHILD,
    "configmaps": CHILD,
    "services": CHILD,
    "poddisruptionbudgets.policy": CHILD,
    "networkpolicies.networking.k8s.io": CHILD,
    "horizontalpodautoscalers.autoscaling": CHILD,
    "persistentvolumeclaims": CHILD - {"delete"},
    "pods": {"get", "list", "watch"},
    "events": {"list", "create", "patch"},
}
LEASE = {"leases.coordination.k8s.io": {"create"}, f"leases.coordination.k8s.io{RELEASE}": {"get", "update"}}
"""In the release's namespace."""


@pytest.fixture(scope="module")
def teams(kubectl: Run) -> tuple[str, str]:
    """Two namespaces of users, restricted."""
    for team in ("team-a", "team-b"):
        kubectl("create", "namespace", team)
        kubectl("label", "namespace", team, "pod-security.kubernetes.io/enforce=restricted")
    return "team-a", "team-b"


def install(helm: Run, *settings: str) -> None:
    sets = [word for setting in settings for word in ("--set", setting)]
    helm("upgrade", "--install", RELEASE, str(CHART), *HERE, *sets)


@pytest.fixture(scope="module")
def cluster_wide(helm: Run, teams: tuple[str, str]) -> Iterator[tuple[str, str]]:
    install(helm)
    yield teams
    helm("uninstall", RELEASE, *HERE, "--ignore-not-found", "--wait")


def rights(kubectl: Run, namespace: str) -> dict[str, set[str]]:
    """Verbs by resource, from `kubectl auth can-i --list`, beyond what any service account may do."""
    mine, any_account = (
        _listed(kubectl("auth", "can-i", "--list", "--no-headers", "--namespace", namespace, account).stdout)
        for account in (OPERATOR, f"--as=system:serviceaccount:{namespace}:default")
    )
    return {name: verbs for name, verbs in mine.items() if any_account.get(name) != verbs}


def _listed(table: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for line in table.splitlines():
        row = re.match(r"(\S*)\s+\[(.*?)\]\s+\[(.*?)\]\s+\[(.*?)\]$", line)
        assert row, line
        resource, urls, names, verbs = row.groups()
        found.setdefault(f"{resource}{urls}{names}", set()).update(verbs.split())
    return found


def test_with_scope_cluster_it_may_do_this_in_every_namespace(
    kubectl: Run, cluster_wide: tuple[str, str]
) -> None:
    for namespace in cluster_wide:
        assert rights(kubectl, namespace) == ALLOWED
    assert rights(kubectl, NAMESPACE) == ALLOWED | LEASE


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        pytest.param("get", "secrets", id="read a Secret"),
        pytest.param("list", "secrets", id="list Secrets"),
        pytest.param("create", "secrets", id="make a Secret"),
        pytest.param("create", "pods", id="make a pod"),
        pytest.param("create", "pods/exec", id="enter a pod"),
        pytest.param("get", "pods/log", id="read a log"),
        pytest.param("get", "pods/proxy", id="reach a pod through the API server"),
        pytest.param("create", "serviceaccounts/token", id="make a token"),
        pytest.param("create", "leases.coordination.k8s.io", id="make a Lease where users are"),
        pytest.param("create", "roles.rbac.authorization.k8s.io", id="make a role"),
        pytest.param("impersonate", "users", id="act as another"),
        pytest.param("delete", "persistentvolumeclaims", id="delete a claim"),
        pytest.param("update", "finetunejobs.finetune.dev", id="replace a job"),
        pytest.param("create", "finetunejobs.finetune.dev", id="make a job"),
        pytest.param("patch", "customresourcedefinitions.apiextensions.k8s.io", id="change a kind"),
    ],
)
def test_it_may_not(kubectl: Run, cluster_wide: tuple[str, str], verb: str, resource: str) -> None:
    # To can-i, pods/log is a pod of the name log.
    kind, _, subresource = resource.partition("/")
    ask = ("auth", "can-i", verb, kind, f"--subresource={subresource}", "--namespace", cluster_wide[0])
    done = kubectl(*ask, OPERATOR, check=False)
    assert done.stdout.strip() == "no"


CHILDREN = [
    pytest.param(child, id=f"{file.stem}-{child['kind']}-{child['metadata']['name']}")
    for file in sorted(GOLDEN.glob("*.yaml"))
    if not file.stem.endswith(".manifest")
    for child in yaml.safe_load_all(file.read_text())
]


@pytest.mark.usefixtures("optional_apis")
@pytest.mark.parametrize("child", CHILDREN)
def test_it_may_apply_every_child(kubectl: Run, cluster_wide: tuple[str, str], child: dict[str, Any]) -> None:
    here = child | {"metadata": child["metadata"] | {"namespace": cluster_wide[0]}}
    kubectl("apply", "--server-side", "--dry-run=server", OPERATOR, "--filename=-", stdin=json.dumps(here))


@pytest.mark.parametrize(
    ("role", "verb", "allowed"),
    [
        pytest.param("view", "get", "yes", id="who may view may view jobs"),
        pytest.param("view", "create", "no", id="who may view may not make jobs"),
        pytest.param("edit", "create", "yes", id="who may edit may make jobs"),
        pytest.param("admin", "delete", "yes", id="who administers may delete jobs"),
    ],
)
def test_users(kubectl: Run, cluster_wide: tuple[str, str], role: str, verb: str, allowed: str) -> None:
    namespace = cluster_wide[0]
    bind = ("create", "rolebinding", f"{role}-{verb}", f"--clusterrole={role}", f"--user={role}-{verb}")
    kubectl(*bind, "--namespace", namespace)
    ask = ("auth", "can-i", verb, "finetunejobs.finetune.dev", "--namespace", namespace)

    def answer() -> str:
        return kubectl(*ask, f"--as={role}-{verb}", check=False).stdout.strip()

    # A controller aggregates the roles, a moment after they are made.
    until(f"the answer {allowed}", lambda: answer() == allowed)
    assert answer() == allowed


@pytest.fixture(scope="module")
def namespaced(helm: Run, teams: tuple[str, str]) -> Iterator[tuple[str, str]]:
    """The operator works in the first of the two namespaces only. The last of the module: it takes over."""
    install(helm, "scope=namespaced", "namespaces={team-a}")
    yield teams
    helm("uninstall", RELEASE, *HERE, "--ignore-not-found", "--wait")


def test_with_scope_namespaced_it_may_do_this_in_its_namespaces_only(
    kubectl: Run, namespaced: tuple[str, str]
) -> None:
    own, other = namespaced
    assert rights(kubectl, own) == ALLOWED
    assert rights(kubectl, other) == {}
    assert rights(kubectl, NAMESPACE) == LEASE
