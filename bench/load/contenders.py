"""What is compared: training on four nodes after a preparation, as a FineTuneJob and as a TrainJob."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubeflow
from cluster.commands import Run
from cluster.controlplane import ControlPlane
from cluster.operator_pod import OperatorPod
from cluster.process import Process, answers
from waiting import until

ROOT = Path(__file__).parents[2]
NODES = 4
CLAIM = "models"
RUNTIME = "prepared"
OPERATOR = "system:serviceaccount:finetune-system:finetune-operator"
GPU_TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists"}


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A kind and its controllers."""

    kind: str
    api_version: str
    plural: str
    spec: Mapping[str, Any]
    users: tuple[str, ...]
    """Whose requests are those of the controllers."""
    pids: Callable[[], dict[str, int]]
    job_name: re.Pattern[str]
    """Matches a Job's name; groups: the parent, and which stage (prepare or train) it is."""
    stage_labels: Mapping[str, Mapping[str, str]]
    """What pods of a stage are told by."""

    @property
    def group(self) -> str:
        return self.api_version.partition("/")[0]

    @property
    def version(self) -> str:
        return self.api_version.partition("/")[2]

    def body(self, name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "metadata": {"name": name},
            "spec": {**self.spec, **changes},
        }

    def job(self, name: str) -> tuple[str, str] | None:
        """The parent and the stage (prepare or train) of a Job of this name; None for any other."""
        found = self.job_name.fullmatch(name)
        if found is None:
            return None
        return found["parent"], "prepare" if found["prepare"] else "train"


def fine_tune_job(plane: ControlPlane, kubectl: Run, helm: Run) -> tuple[Contender, OperatorPod]:
    """Installed by its chart; its program runs here as its pod has it."""
    crds = f"--filename={ROOT / 'crds'}"
    kubectl("apply", "--server-side", crds)
    kubectl("wait", "--for=condition=Established", crds)
    kubectl("create", "namespace", "finetune-system")
    chart = str(ROOT / "helm/finetune-operator")
    helm("install", "finetune-operator", chart, "--namespace=finetune-system", "--set=crds.install=false")
    pod = OperatorPod.of(plane)
    pod.start()
    until(
        "the operator", lambda: pod.metrics_port and answers(f"http://127.0.0.1:{pod.metrics_port}/metrics")
    )
    contender = Contender(
        kind="FineTuneJob",
        api_version="finetune.dev/v1alpha1",
        plural="finetunejobs",
        spec=_fine_tune_job_spec(),
        users=(OPERATOR,),
        pids=lambda: {"finetune-operator": pod.process.pid} if pod.process else {},
        job_name=re.compile(r"(?P<parent>job-\d+)-\w+-(?:(?P<prepare>prepare)|train)-0"),
        stage_labels={
            stage: {"app.kubernetes.io/component": stage} for stage in ("prepare", "train", "merge", "verify")
        },
    )
    return contender, pod


def train_job(plane: ControlPlane, kubectl: Run) -> tuple[Contender, list[Process]]:
    """Kubeflow Trainer with JobSet, and a runtime whose training waits for an initializer."""
    processes = kubeflow.start(plane, kubectl)
    kubectl("apply", "--server-side", "--filename=-", stdin=json.dumps(_runtime()))
    contender = Contender(
        kind="TrainJob",
        api_version="trainer.kubeflow.org/v1alpha1",
        plural="trainjobs",
        spec={"runtimeRef": {"name": RUNTIME}, "trainer": {"numNodes": NODES}},
        users=kubeflow.USERS,
        pids=lambda: {name: process.pid for name, process in processes.items()},
        job_name=re.compile(r"(?P<parent>job-\d+)-(?:(?P<prepare>dataset-initializer)|node)-0"),
        stage_labels={
            "prepare": {"jobset.sigs.k8s.io/replicatedjob-name": "dataset-initializer"},
            "train": {"jobset.sigs.k8s.io/replicatedjob-name": "node"},
        },
    )
    return contender, list(processes.values())


def _fine_tune_job_spec() -> dict[str, Any]:
    return {
        "model": {"uri": "models/tiny"},
        "flavor": "tiny_lora",
        "dataset": {"uri": "datasets/faq.jsonl"},
        "training": {"steps": 10},
        "workers": {"nodes": NODES, "gpusPerNode": 1, "podOverrides": {"tolerations": [GPU_TOLERATION]}},
        "storage": {"claimName": CLAIM},
    }


def _runtime() -> dict[str, Any]:
    """As Trainer's own runtimes for torchtune are: first an initializer, then the nodes."""
    initializer = {"name": "dataset-initializer", "image": "initializer"}
    trainer = {"name": "node", "image": "trainer", "resources": {"limits": {"nvidia.com/gpu": 1}}}
    jobs = [
        _replicated_job("dataset-initializer", "dataset-initializer", {"containers": [initializer]}),
        _replicated_job("node", "trainer", {"containers": [trainer], "tolerations": [GPU_TOLERATION]})
        | {"dependsOn": [{"name": "dataset-initializer", "status": "Complete"}]},
    ]
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "ClusterTrainingRuntime",
        "metadata": {"name": RUNTIME, "labels": {"trainer.kubeflow.org/framework": "torch"}},
        "spec": {
            "mlPolicy": {"numNodes": 1, "torch": {}},
            "template": {"spec": {"replicatedJobs": jobs}},
        },
    }


def _replicated_job(name: str, step: str, pod: dict[str, Any]) -> dict[str, Any]:
    labels = {"trainer.kubeflow.org/trainjob-ancestor-step": step}
    return {
        "name": name,
        "template": {"metadata": {"labels": labels}, "spec": {"template": {"spec": pod}}},
    }
