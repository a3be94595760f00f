"""Where the pods of a job and of a server listen, and that none clashes on the network of a node."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import serving_plans

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.config import Config
from finetune_operator.core.labels import PROGRESS_PORT_LABEL
from finetune_operator.core.objects import Manifest
from finetune_operator.core.run import run_of
from finetune_operator.finetune import Observed
from finetune_operator.finetune.children.job import Attempt, desired_job
from finetune_operator.finetune.children.names import names_of
from finetune_operator.finetune.reconcile import reconcile
from finetune_operator.finetune.stages import Stage

Build = Callable[..., FineTuneJob]
PORTS = {"rendezvous": 29600, "progress": 9500}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def stage_job(job: FineTuneJob, stage: Stage) -> Manifest:
    return desired_job(job, names_of(job, run_of(job.spec)), Attempt(stage=stage, number=0), Config())


def main_of(child: Manifest) -> Manifest:
    (container,) = child["spec"]["template"]["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def env_of(container: Manifest) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


def child(job: FineTuneJob, kind: str) -> Manifest:
    plan = reconcile(job, Observed(), NOW, Config())
    return next(each for each in plan.apply if each["kind"] == kind)


@pytest.mark.parametrize(
    ("workers", "rendezvous", "progress"),
    [
        pytest.param({}, 29500, 9400, id="the usual ones"),
        pytest.param({"ports": PORTS}, 29600, 9500, id="others"),
        pytest.param({"ports": {"progress": 9500}}, 29500, 9500, id="one other"),
    ],
)
def test_everybody_knows_where_a_training_pod_listens(
    job: Build, workers: Manifest, rendezvous: int, progress: int
) -> None:
    parent = job(workers={"device": "cpu", **workers})
    container = main_of(stage_job(parent, Stage.TRAIN))
    declared = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert declared == {"rendezvous": rendezvous, "progress": progress}
    env = env_of(container)
    assert (env["MASTER_PORT"], env["FINETUNE_PROGRESS_PORT"]) == (str(rendezvous), str(progress))
    assert [each["port"] for each in child(parent, "Service")["spec"]["ports"]] == [rendezvous, progress]
    asked = child(parent, "NetworkPolicy")["spec"]["ingress"][1]["ports"]
    assert [each["port"] for each in asked] == [progress]


@pytest.mark.parametrize("stage", Stage)
def test_a_job_says_where_it_tells_its_progress_when_that_is_elsewhere(job: Build, stage: Stage) -> None:
    export = {"shards": 2, "push": {"uri": "oci://registry.example/a:1"}}
    usual, other = job(export=export), job(export=export, workers={"device": "cpu", "ports": PORTS})
    assert PROGRESS_PORT_LABEL not in stage_job(usual, stage)["metadata"]["labels"]
    assert stage_job(other, stage)["metadata"]["labels"][PROGRESS_PORT_LABEL] == "9500"


def test_other_ports_make_no_other_run(job: Build) -> None:
    assert run_of(job(workers={"device": "cpu", "ports": PORTS}).spec) == run_of(job().spec)


def test_no_port_is_declared_on_the_network_of_the_node(job: Build) -> None:
    parent = job(workers={"device": "cpu", "ports": PORTS, "podOverrides": {"hostNetwork": True}})
    train = stage_job(parent, Stage.TRAIN)
    assert train["spec"]["template"]["spec"]["hostNetwork"] is True
    assert "ports" not in main_of(train)
    assert env_of(main_of(train))["MASTER_PORT"] == "29600"
    assert "ports" in main_of(stage_job(parent, Stage.MERGE))  # which is not on it


@pytest.mark.parametrize("host_network", [False, True])
@pytest.mark.parametrize("port", [8000, 8100])
def test_a_server_is_behind_the_same_address_wherever_it_listens(port: int, host_network: bool) -> None:
    manifest = {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "faq", "namespace": "default", "uid": "u-2", "generation": 1},
        "spec": {
            "model": {"fineTuneJobRef": {"name": "faq"}},
            "port": port,
            "podOverrides": {"hostNetwork": host_network},
        },
    }
    plan = serving_plans.plan(ModelDeployment.model_validate(manifest), serving_plans.READY)
    made = {each["kind"]: each["spec"] for each in plan.apply}
    server = serving_plans.server_of(plan)
    assert env_of(server)["SERVING_PORT"] == str(port)
    assert [each["containerPort"] for each in server.get("ports", [])] == ([] if host_network else [port])
    (service,) = made["Service"]["ports"]
    assert (service["port"], service["targetPort"]) == (8000, port)
    assert made["NetworkPolicy"]["ingress"][0]["ports"][0]["port"] == port
