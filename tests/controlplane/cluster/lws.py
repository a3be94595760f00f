"""LeaderWorkerSet's controller, as its own manifests configure it."""

from pathlib import Path

from cluster import binaries
from cluster.add_on import AddOn

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


def crd() -> Path:
    """The file of its API, of one module that is downloaded for it."""
    return next((binaries.module_folder(LWS.module, LWS.folder) / LWS.crds).glob("*_leaderworkersets.yaml"))
