"""The Python client against a real API server: the guide's blocks, and what is refused."""

import json
from pathlib import Path

import pytest
import yaml
from cluster.controlplane import ControlPlane
from cluster.pods import Pods, fail, succeed
from guide_code import guide_code, run_code
from parents import Parents, job_spec
from waiting import until

from finetune_operator import Client, RunFailedError
from finetune_operator.local.errors import LocalError

HERE = "finetune.dev/v1alpha1"
BROKEN = json.dumps({"reason": "DataInvalid", "message": "It is broken", "remedy": "mend it"})


@pytest.fixture
def client(
    control_plane: ControlPlane, parents: Parents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Client:
    """By a kubeconfig whose context is this test's namespace."""
    kubeconfig = yaml.safe_load(control_plane.kubeconfig.read_text())
    for context in kubeconfig["contexts"]:
        context["context"]["namespace"] = parents.namespace
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(kubeconfig))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(file))
    return Client()


@pytest.mark.usefixtures("stages_succeed")
def test_the_guide(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    run_code(guide_code("sdk.md", "## On a cluster"), "sdk.md")
    assert "Complete runs/" in capsys.readouterr().out
    with pytest.raises(
        LocalError, match=f"there is no FineTuneJob faq in the namespace {client.place.namespace}"
    ):
        client.get("faq")


def test_a_failure_a_retry_and_a_refused_change(client: Client, pods: Pods) -> None:
    """`retry` forgives what `wait` would still see, until the operator has looked."""
    for stage in ("train", "merge", "verify"):
        pods.play({"app.kubernetes.io/component": stage}, succeed())
    job = {"apiVersion": HERE, "kind": "FineTuneJob", "metadata": {"name": "faq"}, "spec": job_spec()}
    client.submit(job)
    run = until("a run", lambda: (status := client.get("faq").status) and status.run)
    pods.play({"batch.kubernetes.io/job-name": f"faq-{run}-prepare-0"}, fail(3, message=BROKEN))
    with pytest.raises(RunFailedError, match=r"FineTuneJob faq has failed: It is broken\. mend it"):
        client.wait("faq")
    pods.play({"batch.kubernetes.io/job-name": f"faq-{run}-prepare-1"}, succeed())
    assert client.retry("faq") == "prepare"
    assert client.wait("faq").status.phase == "Complete"
    with pytest.raises(LocalError, match=r"the cluster refuses it: .*cannot change once the job has started"):
        client.submit({**job, "spec": job_spec(training={"steps": 11})})
    with pytest.raises(LocalError, match=r'the cluster refuses it: .*namespaces "nowhere" not found'):
        client.submit({**job, "metadata": {"name": "faq", "namespace": "nowhere"}})
