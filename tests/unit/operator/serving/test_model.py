"""Which adapters are served beside a model, and why one is not there."""

from collections.abc import Callable
from typing import Any

import pytest
from serving_plans import READY, TRAINING, plan, server_of

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.outcome import Outcome

Builder = Callable[..., ModelDeployment]


def adapters(*specs: dict[str, str]) -> dict[str, Any]:
    return {"adapters": [{"name": f"a{number}", **spec} for number, spec in enumerate(specs)]}


TRAINED = Outcome(claim="shared", adapter_path="runs/default/tone/1/adapter", rank=48)


def test_adapters_of_jobs_and_of_folders(deployment: Builder) -> None:
    spec = adapters({"fineTuneJobRef": {"name": "tone"}}, {"uri": "adapters/terms"})
    server = server_of(plan(deployment(**spec), model=READY, jobs={"tone": TRAINED}))
    assert server["args"][9:-3] == [
        *("--enable-lora", "--max-lora-rank", "64"),
        *("--middleware", "served_adapters.ServedAdapters"),
        *("--all2all-backend", "allgather_reducescatter"),
        "--api-server-count=1",
    ]


@pytest.mark.parametrize(
    ("job", "reason", "stalled"),
    [
        pytest.param(None, "FineTuneJobNotFound", "False", id="no job"),
        pytest.param(TRAINING, "AdapterNotTrained", "False", id="it waits"),
        pytest.param(
            Outcome(claim="shared", failure="It broke"),
            "FineTuneJobFailed",
            "True",
            id="the job failed",
        ),
        pytest.param(
            Outcome(**{**vars(TRAINED), "failure": "The merge broke"}),
            "Loading",
            "False",
            id="it failed after training",
        ),
        pytest.param(
            Outcome(**{**vars(TRAINING), "unserved_targets": ("attention",)}),
            "AdapterNotAppliedByVLLM",
            "True",
            id="vLLM leaves out a part of it",
        ),
        pytest.param(
            Outcome(**{**vars(TRAINED), "claim": "other"}),
            "AdapterInAnotherVolume",
            "True",
            id="another volume",
        ),
    ],
)
def test_an_adapter_that_is_not_there(
    deployment: Builder, job: Outcome | None, reason: str, stalled: str
) -> None:
    parent = deployment(**adapters({"fineTuneJobRef": {"name": "tone"}}))
    status = plan(parent, model=READY, jobs={"tone": job} if job else {}).status
    conditions = {c["type"]: c for c in status["conditions"]}
    assert (conditions["Progressing"]["reason"], conditions["Stalled"]["status"]) == (reason, stalled)


def test_an_image_takes_the_volume_s_place(deployment: Builder) -> None:
    """Read-only, for the server and for who checks its signature."""
    key = {"publicKeyConfigMapRef": {"name": "keys", "key": "model.pub"}}
    parent = deployment(model={"uri": "oci://registry.example/models/faq:v1", "verifySignature": key})
    made = plan(parent)
    (server,) = (each for each in made.apply if each["kind"] == "Deployment")
    pod = server["spec"]["template"]["spec"]
    image = {"reference": "registry.example/models/faq:v1", "pullPolicy": "IfNotPresent"}
    assert pod["volumes"][0] == {"name": "volume", "image": image}
    mounts = [each["volumeMounts"][0] for each in (*pod["initContainers"], *pod["containers"])]
    assert mounts == [{"name": "volume", "mountPath": "/volume", "readOnly": True}] * 2
    assert pod["containers"][0]["args"][:2] == ["/volume", "--served-model-name"]
    assert pod["initContainers"][0]["args"] == ["/volume", "--signed"]


@pytest.mark.parametrize("uri", ["oci://registry.example/faq:v1", "models/faq"])
def test_a_rollout_waits_for_the_pull_of_an_image_too(deployment: Builder, uri: str) -> None:
    storage = {} if "://" in uri else {"storage": {"claimName": "models"}}
    (server,) = (
        each for each in plan(deployment(model={"uri": uri}, **storage)).apply if each["kind"] == "Deployment"
    )
    read = 282  # an H200's memory at 500 MB/s
    pulled = read if "://" in uri else 0
    assert server["spec"]["progressDeadlineSeconds"] == 600 + read + pulled + 600
