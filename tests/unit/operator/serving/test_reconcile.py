"""Plans of a ModelDeployment: it waits for its job, loads, serves, crashes, keeps the old model meanwhile."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.config import Config, Images
from finetune_operator.core.deployment_observation import ObservedDeployment
from finetune_operator.core.digest import spec_hash_of
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.plan import Plan
from finetune_operator.core.termination import Termination
from finetune_operator.serving import Observed, ObservedModel
from finetune_operator.serving.reconcile import reconcile

Builder = Callable[..., ModelDeployment]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG = Config(images=Images(server="server:test"))
PATH = "runs/default/faq/3f2a9c1b/merged"
READY = ObservedModel(phase="Complete", claim="shared", path=PATH, complete=True)
TRAINING = ObservedModel(phase="Training", claim="shared")
CRASH = Termination(exit_code=1, reason="Failed", message="no memory")


def plan(parent: ModelDeployment, **observed: Any) -> Plan:
    return reconcile(parent, Observed(**observed), NOW, CONFIG)


def kinds(plan: Plan) -> list[str]:
    return [child["kind"] for child in plan.apply]


def server_of(plan: Plan) -> Manifest:
    (container,) = plan.apply[-1]["spec"]["template"]["spec"]["containers"]
    assert isinstance(container, dict)
    return container


@pytest.mark.parametrize(
    ("model", "server", "phase", "stalled", "message"),
    [
        pytest.param(
            None,
            None,
            "FineTuneJobNotFound",
            "False",
            "Waits for FineTuneJob faq, which is not there",
            id="no job",
        ),
        pytest.param(
            TRAINING,
            None,
            "FineTuneJobNotComplete",
            "False",
            "Waits for FineTuneJob faq to be Complete; it is Training",
            id="it waits",
        ),
        pytest.param(
            ObservedModel(phase="Failed", claim="shared", failure="It broke"),
            None,
            "Failed",
            "True",
            "FineTuneJob faq failed: It broke",
            id="the job failed",
        ),
        pytest.param(
            READY, None, "Loading", "False", f"The server loads {PATH}; 0 of 1 replicas are ready", id="ready"
        ),
        pytest.param(
            READY,
            ObservedDeployment(updated=1, ready=1),
            "Available",
            "False",
            "1 of 1 replicas answer",
            id="up",
        ),
        pytest.param(
            READY,
            ObservedDeployment(updated=1, restarts=1, termination=CRASH),
            "Crashing",
            "False",
            "The server ends with exit code 1: no memory",
            id="crashed",
        ),
        pytest.param(
            READY,
            ObservedDeployment(updated=1, restarts=3, termination=CRASH),
            "Failed",
            "True",
            "The server ends with exit code 1: no memory",
            id="crashes for ever",
        ),
        pytest.param(
            READY,
            ObservedDeployment(updated=1, deadline_exceeded=True),
            "Failed",
            "True",
            "The server was not ready in time; see the pod's log",
            id="too slow",
        ),
        pytest.param(
            TRAINING,
            ObservedDeployment(updated=1, ready=1),
            "Available",
            "False",
            "Waits for FineTuneJob faq to be Complete; it is Training",
            id="an older model is served meanwhile",
        ),
    ],
)
def test_conditions(
    deployment: Builder,
    model: ObservedModel | None,
    server: ObservedDeployment | None,
    phase: str,
    stalled: str,
    message: str,
) -> None:
    status = plan(deployment(), model=model, deployment=server).status
    conditions = {c["type"]: c for c in status["conditions"]}
    assert status["phase"] == phase
    assert conditions["Stalled"]["status"] == stalled
    assert conditions["Progressing"]["message"] == message


def test_nothing_is_served_before_there_is_a_model(deployment: Builder) -> None:
    waiting = plan(deployment(), model=TRAINING)
    assert kinds(waiting) == ["Service", "PodDisruptionBudget"]
    seen = {Ref.of(child): spec_hash_of(child) for child in waiting.apply}
    ready = plan(deployment(), model=READY, children=seen)
    assert kinds(ready) == ["Deployment"]
    seen |= {Ref.of(child): spec_hash_of(child) for child in ready.apply}
    assert plan(deployment(), model=READY, children=seen).apply == ()
    assert kinds(
        plan(deployment(), model=ObservedModel(**{**vars(READY), "path": "runs/x/merged"}), children=seen)
    ) == ["Deployment"]


def test_the_command_on_gpus(deployment: Builder) -> None:
    spec = {"tensorParallelSize": 8, "maxModelLen": 8192, "engineArgs": ["--enable-chunked-prefill"]}
    server = server_of(plan(deployment(**spec), model=READY))
    assert [*server["command"], *server["args"]] == [
        *("python", "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", f"/volume/{PATH}"),
        *("--served-model-name", "$(SERVED_MODEL_NAME)"),
        *("--port", "$(SERVING_PORT)"),
        *("--tensor-parallel-size", "8"),
        *("--pipeline-parallel-size", "1"),
        *("--max-model-len", "8192"),
        "--enable-chunked-prefill",
    ]
    assert {v["name"]: v["value"] for v in server["env"]} == {
        "HOME": "/tmp",
        "SERVED_MODEL_NAME": "faq",
        "SERVING_PORT": "8000",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
    }
    assert server["resources"] == {"limits": {"nvidia.com/gpu": 8}}
    assert server["volumeMounts"][0] == {"name": "volume", "mountPath": "/volume", "readOnly": True}


def test_the_command_on_a_cpu(deployment: Builder) -> None:
    server = server_of(plan(deployment(gpus=0), model=READY))
    assert server["args"][-3:] == ["--enforce-eager", "--dtype", "bfloat16"]
    assert {"name": "VLLM_CPU_KVCACHE_SPACE", "value": "1"} in server["env"]
    assert "resources" not in server


def test_ready_means_that_it_generated(deployment: Builder) -> None:
    server = server_of(plan(deployment(tensorParallelSize=8), model=READY))
    startup = server["startupProbe"]
    assert startup["exec"]["command"][:2] == ["python", "-c"]
    assert "/v1/completions" in startup["exec"]["command"][2]
    # 600 s, and 8 cards of 141 GB read at 500 MB/s
    assert startup["failureThreshold"] * startup["periodSeconds"] == pytest.approx(600 + 2256, abs=10)
    assert server["readinessProbe"]["httpGet"] == {"path": "/health", "port": "http"}


def test_scaled_to_zero(deployment: Builder) -> None:
    scaled = plan(deployment(replicas=0), model=READY)
    assert scaled.status["phase"] == "ScaledToZero"
    assert scaled.apply[-1]["spec"]["replicas"] == 0
