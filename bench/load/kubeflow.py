"""Kubeflow Trainer and JobSet, which it is built on, as add-ons of a control plane."""

from pathlib import Path

from cluster.add_on import AddOn
from cluster.commands import Run
from cluster.controlplane import ControlPlane
from cluster.process import Process

TOOLS = Path(__file__).with_name("tools")
NAMESPACE = "kubeflow-system"
TRAINER, JOBSET = "trainer-controller-manager", "jobset"

# In the order of their start. Two modules: JobSet builds with an older controller-runtime than Trainer does.
ADD_ONS = (
    AddOn(
        name=JOBSET,
        folder=TOOLS / JOBSET,
        module="sigs.k8s.io/jobset",
        package="sigs.k8s.io/jobset",
        namespace=NAMESPACE,
        crds="config/components/crd/bases",
        configuration="config/components/manager/controller_manager_config.yaml",
        webhooks="config/components/webhook",
        changes={"internalCertManagement": {"enable": False}},
    ),
    AddOn(
        name=TRAINER,
        folder=TOOLS / TRAINER,
        module="github.com/kubeflow/trainer/v2",
        package="github.com/kubeflow/trainer/v2/cmd/trainer-controller-manager",
        namespace=NAMESPACE,
        crds="manifests/base/crds",
        configuration="manifests/base/manager/controller_manager_config.yaml",
        webhooks="manifests/base/webhook",
        changes={"certManagement": {"enable": False}},
    ),
)
USERS = tuple(add_on.user for add_on in ADD_ONS)


def versions() -> dict[str, str]:
    return {add_on.module: add_on.version for add_on in ADD_ONS}


def build() -> None:
    for add_on in ADD_ONS:
        add_on.build()


def start(plane: ControlPlane, kubectl: Run) -> dict[str, Process]:
    """Both controllers, ready, with their CRDs and webhooks."""
    kubectl("create", "namespace", NAMESPACE)
    return {add_on.name: add_on.start(plane, kubectl) for add_on in ADD_ONS}
