"""Which cluster is asked where there is no kubeconfig, and how a refusal reads."""

import json
from pathlib import Path

import pytest
from kubernetes import client
from kubernetes.config import incluster_config

from finetune_operator.client import connection
from finetune_operator.client.cluster import Cluster
from finetune_operator.client.connection import ask
from finetune_operator.local.errors import LocalError


def test_a_pod_asks_its_own_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("token", "secret"), ("ca.crt", "a certificate"), ("namespace", "team\n")):
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setattr(connection, "_NAMESPACE_OF_A_POD", tmp_path / "namespace")
    monkeypatch.setattr(client, "ApiClient", lambda configuration: configuration)
    cluster = Cluster.connect(None, None)
    assert (cluster.api.host, cluster.namespace, cluster.inside) == ("https://10.0.0.1:443", "team", True)
    serving = {
        "metadata": {"name": "faq"},
        "status": {"readyReplicas": 1, "endpoint": "http://faq.team.svc:8000"},
    }
    with cluster.endpoint(serving) as url:
        assert url == "http://faq.team.svc:8000"


@pytest.mark.parametrize(
    ("status", "body", "line"),
    [
        pytest.param(
            404,
            "404 page not found\n",
            "the cluster does not know FineTuneJob and ModelDeployment. Install the operator's chart first",
            id="no CRDs",
        ),
        pytest.param(
            404,
            json.dumps({"message": 'namespaces "x" not found'}),
            'the cluster refuses it: namespaces "x" not found. Change the object',
            id="no namespace",
        ),
        pytest.param(
            422,
            json.dumps({"message": "spec.training: it\n has started"}),
            "the cluster refuses it: spec.training: it has started. Change the object",
            id="invalid",
        ),
        pytest.param(
            403,
            json.dumps({"message": "no"}),
            "the cluster answers 403 Forbidden. Check the context and your rights: "
            "`kubectl auth can-i get finetunejobs.finetune.dev`",
            id="forbidden",
        ),
    ],
)
def test_a_refusal_is_one_line(status: int, body: str, line: str) -> None:
    def request(**_: object) -> None:
        refused = client.ApiException(status=status, reason="Forbidden")
        refused.body = body
        raise refused

    with pytest.raises(LocalError) as refusal:
        ask(request)
    assert str(refusal.value) == line
