"""LeaderWorkerSet's controller, as its own manifests configure it."""

from pathlib import Path

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
    says_where_certificates_are=True,
)
