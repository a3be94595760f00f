"""The oldest Kubernetes that is supported takes the chart, both kinds, and all that the operator makes.

Its controllers take a job to its end, and another to its failure. The same is asked of the newest by the
tests beside this one.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster import binaries, oldest
from cluster.commands import WAIT, Run, runner
from cluster.controlplane import ControlPlane
from cluster.oldest import OldestControlPlane
from cluster.operator_pod import OperatorPod
from cluster.optional_apis import install_optional_apis
from cluster.owned_tls import owned_tls
from golden_children import golden_children
from oldest_life import COMPONENT, DRAINED, Ended, OldestLife
from parents import DEPLOYMENT, JOB, PLURALS, job_spec
from spec_trials import Server, outcomes
from waiting import until

from finetune_operator.core.drift import covers, dropped
from finetune_operator.kube.events import fields_dropped

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm/finetune-operator"
TEAM, SYSTEM = "team", "finetune-system"
HERE = ("--namespace", TEAM)
DRY = ("--server-side", "--dry-run=server", "--filename=-")
LIST = {"apiVersion": "v1", "kind": "List"}
SPECS = 600


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    found = OldestControlPlane(folder=tmp_path_factory.mktemp("oldest"))
    try:
        found.start()
        yield found
    finally:
        found.stop()


@pytest.fixture(scope="module")
def kubectl(plane: ControlPlane) -> Run:
    """As the administrator, with the chart installed and a restricted namespace for a team."""
    run = runner(binaries.find("kubectl"), plane.kubeconfig)
    helm = runner(binaries.find("helm"), plane.kubeconfig)
    for namespace in (SYSTEM, TEAM):
        run("create", "namespace", namespace)
        run("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
        wait_for_service_account(run, namespace)
    done = helm("install", "finetune-operator", str(CHART), "--namespace", SYSTEM)
    assert "Warning" not in done.stderr
    run("wait", "--for=condition=Established", WAIT, "--filename", str(ROOT / "crds"))
    install_optional_apis(run)
    return run


def wait_for_service_account(run: Run, namespace: str) -> None:
    """Its controller makes it; without it no pod is admitted."""
    account = ("get", "serviceaccount", "default", "--namespace", namespace)
    until("a service account", lambda: run(*account, check=False).returncode == 0)


def in_team(child: dict[str, Any]) -> dict[str, Any]:
    return child | {"metadata": child["metadata"] | {"namespace": TEAM}}


def pod_of(template: dict[str, Any], name: str) -> dict[str, Any]:
    """The pod that a controller makes of a template."""
    metadata = {**template["metadata"], "name": name, "namespace": TEAM}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def test_it_is_the_version_that_the_chart_demands(kubectl: Run) -> None:
    told = json.loads(kubectl("version", "--output=json").stdout)["serverVersion"]["gitVersion"]
    demanded = yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"]
    assert told == oldest.version()
    assert demanded == f">={'.'.join(told.removeprefix('v').split('.')[:2])}.0-0"


@pytest.mark.parametrize("name", ["finetunejobs.finetune.dev", "modeldeployments.finetune.dev"])
def test_the_schema_is_structural_and_every_rule_is_within_its_budget(kubectl: Run, name: str) -> None:
    found = json.loads(kubectl("get", "crd", name, "--output=json").stdout)
    conditions = {each["type"]: each["status"] for each in found["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}


def apply(kubectl: Run, objects: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What would be stored of these objects, which are taken without a warning."""
    applied = kubectl("apply", *DRY, "--output=json", stdin=json.dumps({**LIST, "items": list(objects)}))
    assert "Warning" not in applied.stderr
    stored = json.loads(applied.stdout)
    return list(stored["items"]) if stored["kind"] == "List" else [stored]


def test_every_child_is_taken_whole(kubectl: Run) -> None:
    children = [in_team(parameter.values[0]) for parameter in golden_children()]
    for given, stored in zip(children, apply(kubectl, children), strict=True):
        assert (dropped(stored, given), covers(stored.get("spec"), given.get("spec"))) == ([], True)


def test_every_pod_is_admitted_to_a_restricted_namespace(kubectl: Run) -> None:
    children = [parameter.values[0] for parameter in golden_children()]
    makers = [child for child in children if "template" in child.get("spec", {})]
    pods = [pod_of(maker["spec"]["template"], f"pod-{number}") for number, maker in enumerate(makers)]
    for name in {pod["spec"]["priorityClassName"] for pod in pods if "priorityClassName" in pod["spec"]}:
        kubectl("create", "priorityclass", name, "--value=1")
    for given, stored in zip(pods, apply(kubectl, pods), strict=True):
        assert dropped(stored, given) == []


def test_what_it_leaves_out_is_told(kubectl: Run) -> None:
    """Image volumes are of 1.36: here a pod is without them, and nobody but we says so."""
    children = (in_team(parameter.values[0]) for parameter in golden_children())
    job = next(child for child in children if child["kind"] == "Job")
    pod = job["spec"]["template"]["spec"]
    pod["volumes"].append({"name": "box", "image": {"reference": "box:1"}})
    pod["securityContext"]["supplementalGroupsPolicy"] = "Strict"
    (stored,) = apply(kubectl, [job])
    event = fields_dropped(job, stored)
    assert event
    assert event.message == (
        f"The API server stored Job {job['metadata']['name']} without "
        "spec.template.spec.securityContext.supplementalGroupsPolicy, spec.template.spec.volumes[box]: this "
        "Kubernetes has no such field, or has it turned off. Remove it, or run a newer Kubernetes"
    )


@pytest.mark.parametrize("kind", sorted(PLURALS))
def test_generated_specs(plane: ControlPlane, kubectl: Run, kind: str) -> None:
    assert kubectl("get", "namespace", TEAM)
    with owned_tls(plane.credentials.server_certificate) as tls:
        found = outcomes(Server(plane, tls, TEAM), TEAM, kind, SPECS // len(PLURALS))
    wrong = [each for each in found if each not in ("taken", "refused")]
    assert not wrong, f"{len(wrong)} of {len(found)}:\n" + "\n".join(wrong[:20])
    assert 0.1 < found.count("taken") / len(found) < 0.9


@pytest.fixture(scope="module")
def life(plane: ControlPlane, kubectl: Run) -> Iterator[OldestLife]:
    """The operator, as the chart has it, on this Kubernetes; pods end as a test says."""
    assert kubectl("get", "deployment", "--namespace", SYSTEM)
    pod = OperatorPod.of(plane)
    pod.start()
    with plane.api_client() as api:
        yield OldestLife(api=api, namespace=TEAM)
    pod.stop()


def test_its_controllers_take_a_job_to_its_end_and_its_model_to_a_server(life: OldestLife) -> None:
    life.parents.create("FineTuneJob", "faq", job_spec(deployment=DEPLOYMENT, export={"shards": 2}))
    life.until("ModelDeployment", "faq", "Available", {})
    job = life.parents.get("FineTuneJob", "faq") or {}
    assert job["status"]["phase"] == "Complete"
    ended = {job.metadata.labels[COMPONENT]: job.status.succeeded for job in life.parents.jobs()}
    assert ended == {"prepare": 1, "train": 2, "merge-shards": 2, "merge": 1, "verify": 1}


def test_its_controllers_tell_a_drain_from_a_failure(life: OldestLife) -> None:
    """A drained pod does not count; wrong data does, and ends the job at once."""
    life.parents.create("FineTuneJob", "broken", job_spec())
    line = {"reason": "DatasetInvalid", "message": "faq.jsonl:3: no JSON", "remedy": "Correct the line"}
    ends = {"train-0": DRAINED, "train-1": Ended(code=3, message=json.dumps(line))}
    failed = life.until("FineTuneJob", "broken", "Failed", ends)
    assert (failed["reason"], failed["message"]) == (
        "DatasetInvalid",
        "faq.jsonl:3: no JSON. Correct the line",
    )
    job = life.parents.get("FineTuneJob", "broken") or {}
    assert job["status"]["restarts"] == 1
    name = f"broken-{job['status']['run']}-train-0"
    (drained,) = [each for each in life.parents.jobs() if each.metadata.name == name]
    reasons = {each.type: each.reason for each in drained.status.conditions}
    assert reasons["Failed"] == "PodFailurePolicy"


def test_the_admission_policy_holds(kubectl: Run) -> None:
    overrides = {"hostNetwork": True}
    spec = {**JOB, "workers": {"device": "cpu", "podOverrides": overrides}}
    metadata = {"name": "forbidden", "namespace": TEAM}
    job = {"apiVersion": "finetune.dev/v1alpha1", "kind": "FineTuneJob", "metadata": metadata, "spec": spec}
    refused = kubectl("apply", *DRY, stdin=json.dumps(job), check=False)
    assert "podOverridesPolicy.hostNetwork" in refused.stderr
