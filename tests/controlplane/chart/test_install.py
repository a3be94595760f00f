"""helm install, upgrade and uninstall; kwok plays the pods: this says nothing of the operator's program."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from cluster.commands import WAIT, Run
from rendered import CHART, NAMESPACE, RELEASE
from waiting import until

HERE = ("--namespace", NAMESPACE)
JOB = {
    "apiVersion": "finetune.dev/v1alpha1",
    "kind": "FineTuneJob",
    "metadata": {"name": "faq", "namespace": "default"},
    "spec": {
        "model": {"uri": "models/tiny"},
        "flavor": "tiny_lora",
        "dataset": {"uri": "datasets/faq.jsonl"},
        "training": {"steps": 10},
        "storage": {"claimName": "models"},
    },
}

Deploy = Callable[..., Any]


@pytest.fixture
def deploy(helm: Run, kubectl: Run) -> Iterator[Deploy]:
    """Install or upgrade the release; at the end nothing of it is left."""

    def deploy(*settings: str) -> Any:
        sets = [word for setting in settings for word in ("--set", setting)]
        done = helm("upgrade", "--install", RELEASE, str(CHART), *HERE, *sets, "--wait", WAIT)
        # Kubernetes 1.37 makes a kind's storage at the first request for it. Where that is of the kind's own
        # deletion, it fails with "storage is (re)initializing", is not repeated, and the kind stays for ever.
        kubectl("get", "finetunejobs,modeldeployments", "--all-namespaces")
        return done

    yield deploy
    helm("uninstall", RELEASE, *HERE, "--ignore-not-found", "--wait", WAIT)
    kubectl("delete", "crd", "--selector=app.kubernetes.io/part-of=finetune-operator", "--ignore-not-found")


def crds(kubectl: Run) -> set[str]:
    names = kubectl("get", "crd", "--output=name").stdout.split()
    return {name for name in names if name.endswith(".finetune.dev")}


def pods(kubectl: Run) -> list[dict[str, Any]]:
    found = kubectl("get", "pods", *HERE, "--output=json").stdout
    return [pod for pod in json.loads(found)["items"] if "deletionTimestamp" not in pod["metadata"]]


def names(found: list[dict[str, Any]]) -> set[str]:
    return {pod["metadata"]["name"] for pod in found}


def test_the_pods_are_admitted_to_a_restricted_namespace(deploy: Deploy, kubectl: Run) -> None:
    done = deploy()
    assert "Warning" not in done.stderr
    assert [pod["spec"]["serviceAccountName"] for pod in pods(kubectl)] == [RELEASE, RELEASE]
    assert len(crds(kubectl)) == 2


def test_an_upgrade_replaces_the_pods_and_their_configuration(deploy: Deploy, kubectl: Run) -> None:
    deploy()
    before = names(pods(kubectl))
    deploy("images.trainer.tag=next")
    until("other pods", lambda: not before & names(pods(kubectl)))
    assert len(pods(kubectl)) == 2
    config = kubectl("get", "configmap", RELEASE, *HERE, "--output=jsonpath={.data.config\\.yaml}").stdout
    assert yaml.safe_load(config)["images"]["trainer"].endswith(":next")


def test_uninstalling_keeps_both_kinds_and_a_new_release_takes_them_over(
    deploy: Deploy, helm: Run, kubectl: Run
) -> None:
    deploy()
    kubectl("apply", "--filename=-", stdin=json.dumps(JOB))
    helm("uninstall", RELEASE, *HERE, "--wait")
    assert len(crds(kubectl)) == 2
    assert kubectl("get", "ftj", "faq", "--output=jsonpath={.spec.flavor}").stdout == "tiny_lora"
    deploy()
    assert kubectl("get", "ftj", "faq")


def test_uninstalling_removes_both_kinds_when_told(deploy: Deploy, helm: Run, kubectl: Run) -> None:
    deploy("crds.keep=false")
    # Without --wait: Helm 4.3 once waited for ever for CRDs that were gone.
    helm("uninstall", RELEASE, *HERE)
    until("no CRDs", lambda: not crds(kubectl))
    roles = kubectl("get", "clusterroles,clusterrolebindings", "--output=name").stdout
    assert RELEASE not in roles
    until("no pods", lambda: not pods(kubectl))


def test_an_upgrade_of_the_chart_upgrades_the_crds(deploy: Deploy, kubectl: Run) -> None:
    """What helm does not do for a chart's folder named crds."""
    deploy()
    drop = '[{"op": "remove", "path": "/spec/names/shortNames"}]'
    kubectl("patch", "crd", "finetunejobs.finetune.dev", "--type=json", "--patch", drop)
    deploy("log.level=debug")
    short = kubectl(
        "get", "crd", "finetunejobs.finetune.dev", "--output=jsonpath={.spec.names.shortNames}"
    ).stdout
    assert json.loads(short) == ["ftj"]
