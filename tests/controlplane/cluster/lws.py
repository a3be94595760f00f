"""LeaderWorkerSet's controller, as its own manifests configure it."""

from pathlib import Path

from cluster import binaries
from cluster.add_on import AddOn
from cluster.commands import Run
from waiting import until

LWS = AddOn(
    name="lws",
    folder=Path(__file__).parent.parent / "tools/lws",
    module="sigs.k8s.io/lws",
    package="sigs.k8s.io/lws/cmd",
    namespace="lws-system",
    crds="config/crd/bases",
    configuration="config/manager/controller_manager_config.yaml",
    webhooks="config/webhook",
    changes={"internalCertManagement": {"enable": False}},
)


def install_api(kubectl: Run) -> None:
    """Have its API served: its file is of one module that is downloaded for it."""
    crds = binaries.module_folder(LWS.module, LWS.folder) / LWS.crds
    (crd,) = crds.glob("*_leaderworkersets.yaml")
    kubectl("apply", "--server-side", f"--filename={crd}")
    established = ("wait", "--for=condition=Established", f"--filename={crd}")
    # For a moment kubectl finds no list of conditions, and gives up.
    until("the API of LeaderWorkerSets", lambda: kubectl(*established, check=False).returncode == 0)
