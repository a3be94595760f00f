"""The way out of the cluster: what every container of every stage and server is told."""

from collections.abc import Callable
from typing import Any

import pytest

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.config import Config
from finetune_operator.core.egress import Egress
from finetune_operator.core.objects import Manifest
from finetune_operator.finetune.children.job import Attempt, desired_job
from finetune_operator.finetune.children.names import names_of
from finetune_operator.finetune.stages import Stage
from finetune_operator.kube.settings import Settings
from finetune_operator.serving.children.deployment import desired_deployment
from finetune_operator.serving.model import ServedModel

INSIDE = "localhost,127.0.0.1,::1,.svc,.cluster.local"
EVERYTHING = {
    "httpsProxy": "http://proxy:3128",
    "noProxy": ".example",
    "hubEndpoint": "https://hub.example",
    "caBundle": {"configMap": "trusted"},
}
VARIABLES = {
    "HTTPS_PROXY": "http://proxy:3128",
    "NO_PROXY": f"{INSIDE},.example",
    "https_proxy": "http://proxy:3128",
    "no_proxy": f"{INSIDE},.example",
    "HF_ENDPOINT": "https://hub.example",
    "SSL_CERT_FILE": "/etc/finetune-ca/ca.crt",
    "REQUESTS_CA_BUNDLE": "/etc/finetune-ca/ca.crt",
    "CURL_CA_BUNDLE": "/etc/finetune-ca/ca.crt",
    "AWS_CA_BUNDLE": "/etc/finetune-ca/ca.crt",
}
CONFIG = Settings.model_validate({"egress": EVERYTHING}).config


@pytest.mark.parametrize(
    ("egress", "variables"),
    [
        pytest.param(Egress(), {}, id="nothing to tell"),
        pytest.param(CONFIG.egress, VARIABLES, id="everything"),
        pytest.param(Egress(no_proxy=".example"), {}, id="no proxy, so nothing without it"),
        pytest.param(
            Egress(http_proxy="http://p:1"),
            {"HTTP_PROXY": "http://p:1", "http_proxy": "http://p:1", "NO_PROXY": INSIDE, "no_proxy": INSIDE},
            id="a proxy alone",
        ),
    ],
)
def test_variables(egress: Egress, variables: dict[str, str]) -> None:
    assert egress.variables == variables


def check(pod: Manifest, **others: str) -> None:
    container = pod["containers"][0]
    env = {each["name"]: each.get("value") for each in container["env"]}
    assert {name: env[name] for name in VARIABLES} == VARIABLES | others
    assert {"name": "ca", "configMap": {"name": "trusted"}} in pod["volumes"]
    assert {"name": "ca", "mountPath": "/etc/finetune-ca", "readOnly": True} in container["volumeMounts"]


@pytest.mark.parametrize("stage", Stage)
def test_it_reaches_every_stage(golden_manifest: Callable[[str], Manifest], stage: Stage) -> None:
    job = FineTuneJob.model_validate(golden_manifest("671b"))
    made = desired_job(job, names_of(job, "3f2a9c1b"), Attempt(stage=stage, number=0), CONFIG)
    check(made["spec"]["template"]["spec"])


@pytest.mark.parametrize(
    ("overrides", "others"),
    [
        pytest.param({}, {}, id="as the chart says"),
        pytest.param(
            {"env": [{"name": "HF_ENDPOINT", "value": "https://mine"}]},
            {"HF_ENDPOINT": "https://mine"},
            id="the user's variables win",
        ),
    ],
)
def test_it_reaches_servers(overrides: dict[str, Any], others: dict[str, str]) -> None:
    spec = {"model": {"uri": "models/tiny"}, "storage": {"claimName": "shared"}, "podOverrides": overrides}
    metadata = {"name": "faq", "namespace": "ml", "uid": "u"}
    deployment = ModelDeployment.model_validate(
        {"apiVersion": "finetune.dev/v1alpha1", "kind": "ModelDeployment", "metadata": metadata, "spec": spec}
    )
    model = ServedModel(path="models/tiny", claim="shared", size_bytes=None)
    made = desired_deployment(deployment, model, CONFIG)
    check(made["spec"]["template"]["spec"], **others)


def test_without_it_nothing_is_told() -> None:
    assert Config().egress == Egress()
