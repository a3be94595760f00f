"""gitops/ from a git server, synced by Argo CD's own engine: no diff, health, and what leaves it goes."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster import argocd, binaries
from cluster.commands import Run, runner
from cluster.controlplane import ControlPlane, free_ports, running
from cluster.operator_pod import OperatorPod
from cluster.optional_apis import install_optional_apis
from waiting import until

ROOT = Path(__file__).parents[3]
JOB, DEPLOYMENT = "FineTuneJob/support-671b", "ModelDeployment/support"

pytestmark = [pytest.mark.argocd, pytest.mark.timeout(3600)]


@dataclass(frozen=True, kw_only=True)
class Repository:
    """Served by git itself; `checkout` is the clone of who reads it."""

    bare: Path
    checkout: Path

    def pull(self) -> None:
        git("-C", str(self.checkout), "pull", "--quiet", "--ff-only")

    def remove(self, path: str) -> None:
        """Commit that, as people do, in a clone of theirs."""
        theirs = self.bare.with_name("theirs")
        git("clone", "--quiet", str(self.bare), str(theirs))
        git("-C", str(theirs), "rm", "--quiet", path)
        who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
        git("-C", str(theirs), *who, "commit", "--quiet", "--message=Remove it")
        git("-C", str(theirs), "push", "--quiet")


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with running(tmp_path_factory.mktemp("argocd")) as found:
        yield found


@pytest.fixture(scope="module")
def kubectl(plane: ControlPlane) -> Run:
    run = runner(binaries.find("kubectl"), plane.kubeconfig)
    install_optional_apis(run)
    return run


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    bare, checkout = tmp_path / "served/finetune.git", tmp_path / "checkout"
    git("clone", "--quiet", "--bare", str(ROOT), str(bare))
    (port,) = free_ports(1)
    where = (f"--base-path={bare.parent}", "--listen=127.0.0.1", f"--port={port}")
    url = f"git://127.0.0.1:{port}/{bare.name}"
    with subprocess.Popen(["git", "daemon", "--export-all", *where]) as daemon:
        try:
            look = ["git", "ls-remote", "--quiet", url]
            until(
                "git's server", lambda: subprocess.run(look, capture_output=True, check=False).returncode == 0
            )
            git("clone", "--quiet", url, str(checkout))
            yield Repository(bare=bare, checkout=checkout)
        finally:
            daemon.terminate()


@pytest.fixture
def operator(plane: ControlPlane) -> Iterator[OperatorPod]:
    """Its program, as soon as a sync has made its pod."""
    pod = OperatorPod.of(plane)
    pod.start()
    yield pod
    pod.stop()


def test_three_syncs_without_a_diff_health_and_a_deletion(
    plane: ControlPlane, kubectl: Run, repository: Repository, operator: OperatorPod, tmp_path: Path
) -> None:
    assert operator

    def synced(name: str) -> argocd.Synced:
        """What one sync of the newest commit does."""
        repository.pull()
        application = yaml.safe_load((repository.checkout / f"gitops/apps/{name}.yaml").read_text())
        spec = application["spec"]
        namespace = spec["destination"]["namespace"]
        folder = tmp_path / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        _write_manifests(repository.checkout, spec, folder)
        _create(kubectl, namespace, spec["syncPolicy"]["managedNamespaceMetadata"]["labels"])
        checks = repository.checkout / "gitops/health"
        return argocd.sync(application["metadata"]["name"], namespace, folder, checks, plane.kubeconfig)

    first = synced("operator")
    assert set(first.different) == set(first.done)
    until("a healthy wave 0", lambda: set(synced("operator").health.values()) == {"Healthy"})
    assert set(synced("jobs").different) == {JOB, DEPLOYMENT}
    for name in 3 * ["operator", "jobs"]:
        assert synced(name).different == []
    until(
        "jobs that progress", lambda: synced("jobs").health == dict.fromkeys([JOB, DEPLOYMENT], "Progressing")
    )
    repository.remove("examples/serve-671b-tp8.yaml")
    assert "pruned" in synced("jobs").done[DEPLOYMENT].lower()
    until(
        "no deployment",
        lambda: not kubectl("get", "modeldeployments", "--all-namespaces", "--output=name").stdout,
    )
    assert synced("jobs").different == []


def _write_manifests(checkout: Path, spec: dict[str, Any], folder: Path) -> None:
    """As Argo CD's repository server renders them: a chart by helm, a folder by the files it includes."""
    source = spec["source"]
    place = checkout / source["path"]
    if helm := source.get("helm"):
        where = (f"--namespace={spec['destination']['namespace']}", "--include-crds")
        command = [binaries.find("helm"), "template", helm["releaseName"], place, *where]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        (folder / "chart.yaml").write_text(text)
        return
    for name in source["directory"]["include"].strip("{}").split(","):
        if (file := place / name).exists():
            shutil.copy(file, folder)


def _create(kubectl: Run, namespace: str, labels: dict[str, str]) -> None:
    """As CreateNamespace=true has it, with managedNamespaceMetadata."""
    kubectl("create", "namespace", namespace, check=False)
    kubectl("label", "--overwrite", "namespace", namespace, *(f"{k}={v}" for k, v in labels.items()))
