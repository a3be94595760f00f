"""The step before a server: its model is signed, or is not served."""

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.config import Config, Images
from finetune_operator.core.objects import Manifest
from finetune_operator.core.observed.pod import observe_pod
from finetune_operator.serving.children.deployment import desired_deployment
from finetune_operator.serving.model import ServedModel

Build = Callable[..., ModelDeployment]
CONFIG = Config(images=Images(converter="converter:test"))
MODEL = ServedModel(path="runs/a/merged", claim="shared", size_bytes=10**12)
KEY = {"publicKeyConfigMapRef": {"name": "keys", "key": "model.pub"}}
SIGNED = {"model": {"fineTuneJobRef": {"name": "faq"}, "verifySignature": KEY}}


def made(deployment: ModelDeployment) -> Manifest:
    spec: Manifest = desired_deployment(deployment, MODEL, CONFIG)["spec"]
    return spec


def test_the_check_is_an_init_container_with_the_model_and_the_key(deployment: Build) -> None:
    pod = made(deployment(**SIGNED))["template"]["spec"]
    (check,) = pod["initContainers"]
    assert (check["image"], check["command"]) == ("converter:test", ["finetune-convert", "check"])
    assert check["args"] == ["/volume/runs/a/merged", "--signed"]
    key = {"name": "MODEL_PUBLIC_KEY", "valueFrom": {"configMapKeyRef": {"name": "keys", "key": "model.pub"}}}
    assert key in check["env"]
    assert {"name": "volume", "mountPath": "/volume", "readOnly": True} in check["volumeMounts"]
    assert check["securityContext"]["readOnlyRootFilesystem"]


def test_without_it_there_is_none(deployment: Build) -> None:
    assert "initContainers" not in made(deployment())["template"]["spec"]


def test_the_rollout_waits_for_the_reading_too(deployment: Build) -> None:
    """1 TB at 500 MB/s."""
    before = made(deployment())["progressDeadlineSeconds"]
    assert made(deployment(**SIGNED))["progressDeadlineSeconds"] == before + 2000


def test_a_key_is_needed(deployment: Build) -> None:
    with pytest.raises(ValidationError, match="publicKeyConfigMapRef"):
        deployment(model={"uri": "models/a", "verifySignature": {}})


def test_a_check_that_failed_is_seen_as_the_pod_s_end() -> None:
    end = {
        "exitCode": 3,
        "message": '{"reason": "VerificationFailed", "message": "not signed", "remedy": "Sign"}',
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "namespace": "b", "uid": "u"},
        "status": {
            "phase": "Pending",
            "initContainerStatuses": [
                {
                    "name": "signature",
                    "restartCount": 2,
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": end},
                }
            ],
        },
    }
    seen = observe_pod(pod)
    assert seen.restarts == 2
    assert [end.message for end in seen.ends_before] == ["not signed"]
