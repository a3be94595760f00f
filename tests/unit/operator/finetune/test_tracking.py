"""Who is told a run's metrics: by run.json without any key, by pods that have the keys, and by the status."""

import json
from typing import Any

import pytest
from fake_cluster import JobBuilder

from finetune_operator.api.field_errors import field_errors
from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.config import Config
from finetune_operator.core.egress import Egress
from finetune_operator.core.run import build_run_file
from finetune_operator.finetune.children.job import Attempt, desired_job
from finetune_operator.finetune.children.names import names_of
from finetune_operator.finetune.progress import parse_progress
from finetune_operator.finetune.stages import Stage

KEY = {"name": "trackers", "key": "api-key"}
TRACKING: dict[str, Any] = {
    "tensorboard": {},
    "wandb": {"entity": "team", "apiKeySecretRef": KEY},
    "mlflow": {"uri": "https://mlflow.example.com", "tokenSecretRef": KEY},
    "trackio": {"space": "team/runs", "tokenSecretRef": KEY},
}


def test_the_run_file_has_all_but_the_keys(job: JobBuilder) -> None:
    assert build_run_file(job(tracking=TRACKING)).tracking.to_dict() == {
        "tensorboard": {},
        "wandb": {"project": "finetune", "entity": "team", "offline": False},
        "mlflow": {"uri": "https://mlflow.example.com", "experiment": "finetune"},
        "trackio": {"project": "finetune", "space": "team/runs"},
    }


def test_it_is_the_same_run_whoever_is_told(job: JobBuilder) -> None:
    assert build_run_file(job(tracking=TRACKING)).run == build_run_file(job()).run


@pytest.mark.parametrize(
    ("stage", "names"),
    [
        pytest.param(Stage.PREPARE, {"WANDB_API_KEY", "MLFLOW_TRACKING_TOKEN"}, id="which looks"),
        pytest.param(Stage.TRAIN, {"WANDB_API_KEY", "MLFLOW_TRACKING_TOKEN", "HF_TOKEN"}, id="which tells"),
        pytest.param(Stage.MERGE, set(), id="which has nothing to tell"),
    ],
)
def test_keys_come_from_secrets_and_go_where_they_are_needed(
    job: JobBuilder, stage: Stage, names: set[str]
) -> None:
    parent = job(tracking=TRACKING)
    config = Config(egress=Egress(https_proxy="http://proxy:3128"))
    made = desired_job(parent, names_of(parent, "3f2a9c1b"), Attempt(stage=stage, number=0), config)
    env = {each["name"]: each for each in made["spec"]["template"]["spec"]["containers"][0]["env"]}
    secrets = {name for name, each in env.items() if "secretKeyRef" in each.get("valueFrom", {})}
    assert secrets == names
    assert all(env[name]["valueFrom"]["secretKeyRef"] == KEY for name in names)
    assert env["HTTPS_PROXY"]["value"] == "http://proxy:3128"


@pytest.mark.parametrize(
    ("told", "tracking"),
    [
        pytest.param({"wandb": "https://wandb.ai/x"}, (("wandb", "https://wandb.ai/x"),), id="a URL"),
        pytest.param({"wandb": 3, "": "x", "mlflow": ""}, (), id="junk"),
        pytest.param({str(n): "x" for n in range(99)}, tuple((str(n), "x") for n in range(8)), id="too many"),
        pytest.param(["x"], (), id="no object"),
        pytest.param(None, (), id="nothing"),
    ],
)
def test_what_training_tells_of_places(told: object, tracking: tuple[tuple[str, str], ...]) -> None:
    assert parse_progress(json.dumps({"stage": "train", "tracking": told}).encode()).tracking == tracking


@pytest.mark.parametrize(
    ("tracking", "problem"),
    [
        pytest.param({"mlflow": {}}, "spec.tracking.mlflow.uri: is required; add it", id="no server"),
        pytest.param(
            {"mlflow": {"uri": "https://me:secret@mlflow"}},
            "use the URL of a server, such as https://mlflow.example.com, without a user or a password",
            id="a password",
        ),
        pytest.param({"mlflow": {"uri": "mlruns"}}, "use the URL of a server", id="a folder"),
        pytest.param(
            {"wandb": {"apiKey": "x"}}, "is no field here; did you mean apiKeySecretRef?", id="a key"
        ),
        pytest.param({"comet": {}}, "spec.tracking.comet: is no field here", id="another tracker"),
    ],
)
def test_what_is_wrong_is_named(job: JobBuilder, tracking: dict[str, Any], problem: str) -> None:
    document = job().to_dict()
    document["spec"]["tracking"] = tracking
    (error,) = field_errors(FineTuneJob, document)
    assert problem in str(error)
