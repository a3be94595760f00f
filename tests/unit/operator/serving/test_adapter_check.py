"""The step before a server of adapters in folders: what vLLM would leave out is not served."""

from collections.abc import Callable

from finetune_operator.api.container import OUR_CONTAINERS
from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.config import Config, Images
from finetune_operator.core.objects import Manifest
from finetune_operator.serving.children.deployment import desired_deployment
from finetune_operator.serving.model import ServedAdapter, ServedModel

CONFIG = Config(images=Images(converter="converter:test"))
OF_A_JOB = ServedAdapter(name="support", path="runs/a/adapter", rank=16)
FOLDERS = [ServedAdapter(name=name, path=f"adapters/{name}") for name in ("terms", "tone")]


def checks(deployment: ModelDeployment, *adapters: ServedAdapter) -> list[Manifest]:
    model = ServedModel(path="models/base", claim="shared", adapters=adapters)
    pod = desired_deployment(deployment, model, CONFIG)["spec"]["template"]["spec"]
    return list(pod.get("initContainers", []))


def test_folders_are_looked_into(deployment: Callable[..., ModelDeployment]) -> None:
    (check,) = checks(deployment(), OF_A_JOB, *FOLDERS)
    assert (check["image"], check["command"]) == ("converter:test", ["finetune-convert", "check-adapters"])
    assert check["name"] in OUR_CONTAINERS
    assert check["args"] == ["/volume/adapters/terms", "/volume/adapters/tone"]
    assert {"name": "volume", "mountPath": "/volume", "readOnly": True} in check["volumeMounts"]


def test_a_job_s_targets_are_known(deployment: Callable[..., ModelDeployment]) -> None:
    assert checks(deployment(), OF_A_JOB) == []
    assert checks(deployment()) == []
