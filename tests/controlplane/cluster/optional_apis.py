"""APIs that a cluster may lack, served without their controllers: tests play those.

Their CRDs are files of their Go modules, which are downloaded for them.
"""

from pathlib import Path

from cluster import binaries
from cluster.add_on import apply_crds
from cluster.commands import Run
from cluster.lws import LWS

_GATEWAY_API = Path(__file__).parent.parent / "tools/gateway-api"
_KEDA = Path(__file__).parent.parent / "tools/keda"
_HTTP_ROUTES = "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"

_SCALED_OBJECTS = "config/crd/bases/keda.sh_scaledobjects.yaml"


def install_optional_apis(kubectl: Run) -> None:
    """Have LeaderWorkerSets, HTTPRoutes and ScaledObjects served."""
    gateway_api = binaries.module_folder("sigs.k8s.io/gateway-api", _GATEWAY_API)
    keda = binaries.module_folder("github.com/kedacore/keda/v2", _KEDA)
    apply_crds(
        kubectl,
        *(LWS.source() / LWS.crds).glob("*_leaderworkersets.yaml"),
        gateway_api / _HTTP_ROUTES,
        keda / _SCALED_OBJECTS,
    )
