"""Kueue, as its own manifests configure it."""

from pathlib import Path

from cluster.add_on import AddOn

KUEUE = AddOn(
    name="kueue",
    folder=Path(__file__).parent.parent / "tools/kueue",
    module="sigs.k8s.io/kueue",
    package="sigs.k8s.io/kueue/cmd/kueue",
    namespace="kueue-system",
    crds="config/components/crd/bases",
    configuration="config/components/manager/controller_manager_config.yaml",
    webhooks="config/components/webhook",
    says_where_certificates_are=True,
    changes={
        "internalCertManagement": {"enable": False},
        # An aggregated API server of its own, which needs another certificate.
        "featureGates": {"VisibilityOnDemand": False},
    },
)
