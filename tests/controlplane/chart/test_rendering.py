"""What the chart makes of its values."""

from collections import Counter
from pathlib import Path

import pytest
import yaml
from rendered import CHART, NAMESPACE, RELEASE, Manifest, config, of_kind, one, render, run_helm

ROOT = Path(__file__).parents[3]
TIMES = {"leaseDurationSeconds": 15, "renewDeadlineSeconds": 10, "retryPeriodSeconds": 2}
EVERYTHING = ("serviceMonitor.enabled=true", "prometheusRule.enabled=true", "grafanaDashboard.enabled=true")


def kinds(objects: list[Manifest]) -> Counter[str]:
    return Counter(each["kind"] for each in objects)


DEFAULT = {
    "CustomResourceDefinition": 2,
    "ServiceAccount": 1,
    "ConfigMap": 1,
    "ClusterRole": 3,
    "ClusterRoleBinding": 1,
    "Role": 1,
    "RoleBinding": 1,
    "Service": 1,
    "Deployment": 1,
    "PodDisruptionBudget": 1,
    "ValidatingAdmissionPolicy": 1,
    "ValidatingAdmissionPolicyBinding": 1,
}


@pytest.mark.parametrize(
    "settings", [pytest.param((), id="defaults"), pytest.param(EVERYTHING, id="everything")]
)
def test_lint_finds_nothing(settings: tuple[str, ...]) -> None:
    done = run_helm("lint", "--strict", settings=settings)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        pytest.param((), {}, id="defaults"),
        pytest.param(("crds.install=false",), {"CustomResourceDefinition": 0}, id="no CRDs"),
        pytest.param(
            ("serviceAccount.create=false", "serviceAccount.name=own"),
            {"ServiceAccount": 0},
            id="own account",
        ),
        pytest.param(
            ("rbac.create=false",),
            {"ClusterRole": 2, "ClusterRoleBinding": 0, "Role": 0, "RoleBinding": 0},
            id="own roles",
        ),
        pytest.param(("replicas=1",), {"PodDisruptionBudget": 0}, id="one replica holds up no drain"),
        pytest.param(("rbac.aggregateToDefaultRoles=false",), {"ClusterRole": 1}, id="no roles for users"),
        pytest.param(("metrics.service=false",), {"Service": 0}, id="no metrics service"),
        pytest.param(EVERYTHING, {"ServiceMonitor": 1, "PrometheusRule": 1, "ConfigMap": 2}, id="monitoring"),
        pytest.param(
            ("scope=namespaced", "namespaces={team-a,team-b}"),
            {"ClusterRole": 2, "ClusterRoleBinding": 0, "Role": 3, "RoleBinding": 3},
            id="two namespaces",
        ),
        pytest.param(
            (
                "scope=namespaced",
                "crds.install=false",
                "rbac.aggregateToDefaultRoles=false",
                "podOverridesPolicy.enforce=false",
            ),
            {
                "ValidatingAdmissionPolicy": 0,
                "ValidatingAdmissionPolicyBinding": 0,
                "CustomResourceDefinition": 0,
                "ClusterRole": 0,
                "ClusterRoleBinding": 0,
                "Role": 2,
                "RoleBinding": 2,
            },
            id="nothing cluster-wide",
        ),
    ],
)
def test_the_objects(settings: tuple[str, ...], changes: dict[str, int]) -> None:
    assert kinds(render(*settings)) == +Counter(DEFAULT | changes)


def test_rendering_again_changes_nothing() -> None:
    """Or Argo CD would sync for ever."""
    assert render(*EVERYTHING) == render(*EVERYTHING)


def test_scope_namespaced_is_the_release_s_namespace_by_default() -> None:
    objects = render("scope=namespaced")
    roles = {each["metadata"]["name"]: each["metadata"]["namespace"] for each in of_kind(objects, "Role")}
    assert roles == dict.fromkeys((RELEASE, f"{RELEASE}-leader-election"), NAMESPACE)
    assert config(objects)["namespaces"] == [NAMESPACE]


@pytest.mark.parametrize("keep", [True, False])
def test_the_crds_are_those_generated_and_say_whether_they_stay(keep: bool) -> None:
    rendered = {each["metadata"]["name"]: each for each in render(f"crds.keep={str(keep).lower()}")}
    for file in (ROOT / "crds").glob("*.yaml"):
        crd = yaml.safe_load(file.read_text())
        if keep:
            crd["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}
        assert rendered[crd["metadata"]["name"]] == crd


def test_every_image_comes_from_the_values() -> None:
    digest = "sha256:" + "0" * 64
    objects = render(
        "images.operator.repository=r.example/o",
        "images.operator.tag=v1",
        "images.trainer.repository=r.example/t",
        "images.trainer.tag=v2",
        "images.converter.repository=r.example/c",
        "images.converter.tag=v3",
        f"images.server.digest={digest}",
        "images.server.repository=r.example/s",
        "imagePullPolicy=Always",
        "gpuMemory=80G",
        "gpusPerNode=4",
        "cache.claimName=kernels",
        "egress.httpsProxy=http://proxy:3128",
        "egress.caBundle.configMap=trusted",
    )
    assert config(objects) == {
        "images": {
            "trainer": "r.example/t:v2",
            "converter": "r.example/c:v3",
            "server": f"r.example/s@{digest}",
        },
        "imagePullPolicy": "Always",
        "gpuMemory": "80G",
        "gpusPerNode": 4,
        "cache": {"claimName": "kernels"},
        "egress": {
            "httpProxy": "",
            "httpsProxy": "http://proxy:3128",
            "noProxy": "",
            "hubEndpoint": "",
            "caBundle": {"configMap": "trusted", "key": "ca.crt"},
        },
        "progressFrom": [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
                "podSelector": {"matchLabels": one(objects, "Deployment")["spec"]["selector"]["matchLabels"]},
            }
        ],
        "namespaces": [],
        "ports": {"health": 8081, "metrics": 8080},
        "log": {"level": "info", "format": "json"},
        "leaderElection": {"resourceNamespace": NAMESPACE, "resourceName": RELEASE, **TIMES},
    }
    (container,) = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["imagePullPolicy"]) == ("r.example/o:v1", "Always")


def test_another_configuration_is_another_pod() -> None:
    def checksum(*settings: str) -> str:
        template = one(render(*settings), "Deployment")["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/config"])

    assert checksum() == checksum("resources.limits.memory=1Gi")
    assert checksum() != checksum("images.server.tag=next")


def test_ports_and_probes_agree() -> None:
    objects = render("ports.health=9001", "ports.metrics=9002")
    (container,) = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"health": 9001, "metrics": 9002}
    paths = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    for probe, path in paths.items():
        assert container[probe]["httpGet"] == {"path": path, "port": "health"}
    (port,) = one(objects, "Service")["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (9002, "metrics")


def test_the_service_selects_the_pod() -> None:
    objects = render()
    selector = one(objects, "Service")["spec"]["selector"]
    deployment = one(objects, "Deployment")["spec"]
    assert deployment["selector"]["matchLabels"] == selector
    assert selector.items() <= deployment["template"]["metadata"]["labels"].items()


def test_the_pod_takes_what_values_say_of_it() -> None:
    pod = one(
        render(
            "tolerations[0].key=control-plane",
            "nodeSelector.zone=a",
            "priorityClassName=system-cluster-critical",
            "env[0].name=HTTPS_PROXY",
            "env[0].value=http://proxy:3128",
            "imagePullSecrets[0].name=registry",
            "podLabels.team=ml",
        ),
        "Deployment",
    )["spec"]["template"]
    assert pod["spec"]["tolerations"] == [{"key": "control-plane"}]
    assert pod["spec"]["nodeSelector"] == {"zone": "a"}
    assert pod["spec"]["priorityClassName"] == "system-cluster-critical"
    assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    own, given = pod["spec"]["containers"][0]["env"]
    assert own == {"name": "POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}
    assert given == {"name": "HTTPS_PROXY", "value": "http://proxy:3128"}
    assert pod["metadata"]["labels"]["team"] == "ml"


def test_names_follow_the_release() -> None:
    names = {each["metadata"]["name"] for each in render("crds.install=false", release="ml")}
    assert names == {
        f"ml-finetune-operator{suffix}"
        for suffix in ("", "-metrics", "-view", "-edit", "-pod-overrides", "-leader-election")
    }


def test_the_dashboard_is_the_file() -> None:
    (dashboard,) = (each for each in render(*EVERYTHING) if each["metadata"]["name"].endswith("-dashboard"))
    file = CHART / "files/dashboard.json"
    assert dashboard["data"]["finetune-operator.json"].strip() == file.read_text().strip()
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_the_operator_down_alert_watches_the_service() -> None:
    objects = render(*EVERYTHING)
    groups = one(objects, "PrometheusRule")["spec"]["groups"]
    rules = {rule["alert"]: rule for group in groups for rule in group["rules"]}
    service = one(objects, "Service")["metadata"]
    for label in ("namespace", "name"):
        assert f'="{service[label]}"' in rules["FineTuneOperatorDown"]["expr"]
    assert "{{ $labels.name }}" in rules["FineTuneJobFailed"]["annotations"]["summary"]


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        pytest.param(("image=x",), "image", id="unknown value"),
        pytest.param(("namespaces={a}",), "/scope", id="namespaces with scope cluster"),
        pytest.param(
            ("serviceMonitor.enabled=true", "metrics.service=false"), "/metrics/service", id="no service"
        ),
    ],
)
def test_helm_names_a_wrong_value(settings: tuple[str, ...], field: str) -> None:
    done = run_helm("template", "x", settings=settings)
    assert done.returncode != 0
    assert field in done.stderr


def test_an_scc_chooses_whom_the_operator_runs_as_where_the_chart_names_nobody() -> None:
    nobody = tuple(f"podSecurityContext.{field}=null" for field in ("runAsUser", "runAsGroup", "fsGroup"))
    for settings, said in (((), {"runAsUser", "runAsGroup", "fsGroup"}), (nobody, set())):
        pod = one(render(*settings), "Deployment")["spec"]["template"]["spec"]
        assert pod["securityContext"].keys() == {"runAsNonRoot", "seccompProfile"} | said
