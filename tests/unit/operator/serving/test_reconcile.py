"""Plans of a ModelDeployment: it waits for its job, loads, serves, crashes, keeps the old model meanwhile."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import observing
import pytest
from serving_plans import PATH, READY, TRAINING, plan, server_of

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.config import Config
from finetune_operator.core.observed.deployment import ObservedDeployment
from finetune_operator.core.outcome import Outcome
from finetune_operator.core.plan import Plan
from finetune_operator.core.termination import Termination
from finetune_operator.core.waiting import refused_pods
from finetune_operator.serving.children.deployment import desired_deployment
from finetune_operator.serving.model import ServedModel

Builder = Callable[..., ModelDeployment]
UNSCHEDULABLE = [{"type": "PodScheduled", "status": "False", "message": "0/5 nodes are available"}]
QUOTA = refused_pods("exceeded quota: gpus", datetime(2026, 1, 1, tzinfo=UTC))
CRASH = Termination(exit_code=1, reason="Failed", message="no memory")


def kinds(plan: Plan) -> list[str]:
    return [child["kind"] for child in plan.apply]


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
            "Waits for FineTuneJob faq to be Complete: The train stage runs",
            id="it waits",
        ),
        pytest.param(
            Outcome(claim="shared", failure="It broke"),
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
            observing.server(updated=1, ready=1),
            "Available",
            "False",
            "1 of 1 replicas answer",
            id="up",
        ),
        pytest.param(
            READY,
            observing.server(updated=1, pods=(observing.failed_pod(CRASH, restarts=1),)),
            "Crashing",
            "False",
            "The server ends with exit code 1: no memory",
            id="crashed",
        ),
        pytest.param(
            READY,
            observing.server(updated=1, pods=(observing.failed_pod(CRASH, restarts=3),)),
            "Failed",
            "True",
            "The server ends with exit code 1: no memory",
            id="crashes for ever",
        ),
        pytest.param(
            READY,
            observing.server(updated=1, overdue_since="2026-01-01T00:00:00Z"),
            "Failed",
            "True",
            "The server was not ready in time; see the pod's log",
            id="too slow",
        ),
        pytest.param(
            READY,
            observing.server(updated=1, pods=(observing.pod(phase="Pending", conditions=UNSCHEDULABLE),)),
            "Waiting",
            "False",
            "The server waits: pod pod is on no node: 0/5 nodes are available. Wait until room is free, "
            "add nodes, or change workers, podOverrides.nodeSelector, affinity or tolerations; "
            "0 of 1 replicas are ready",
            id="no node",
        ),
        pytest.param(
            READY,
            observing.server(refused=QUOTA),
            "Waiting",
            "False",
            f"The server waits: {QUOTA.sentence}; 0 of 1 replicas are ready",
            id="a quota",
        ),
        pytest.param(
            READY,
            observing.server(refused=QUOTA, overdue_since="2026-01-01T00:00:00Z"),
            "Failed",
            "True",
            f"The server was not ready in time; {QUOTA.sentence}",
            id="a quota for too long",
        ),
        pytest.param(
            TRAINING,
            observing.server(updated=1, ready=1),
            "Available",
            "False",
            "Waits for FineTuneJob faq to be Complete: The train stage runs",
            id="an older model is served meanwhile",
        ),
    ],
)
def test_conditions(
    deployment: Builder,
    model: Outcome | None,
    server: ObservedDeployment | None,
    phase: str,
    stalled: str,
    message: str,
) -> None:
    status = plan(deployment(), model=model, deployment=server).status
    conditions = {c["type"]: c for c in status["conditions"]}
    assert status["phase"] == phase
    assert conditions["Stalled"]["status"] == stalled
    assert message in (conditions[name]["message"] for name in ("Available", "Progressing"))
    assert conditions["Stalled"]["message"] == (message if stalled == "True" else "Nobody has to step in")
    # Each says its own; of Available, the column, may be read what one of them says.
    assert len({conditions[name]["message"] for name in ("Progressing", "Reconciling", "Stalled")}) == 3


def test_nothing_is_served_before_there_is_a_model(deployment: Builder) -> None:
    waiting = plan(deployment(), model=TRAINING)
    assert kinds(waiting) == ["Service", "PodDisruptionBudget", "NetworkPolicy"]
    seen = observing.children(waiting.apply)
    ready = plan(deployment(), model=READY, children=seen)
    assert kinds(ready) == ["Deployment"]
    seen |= observing.children(ready.apply)
    assert plan(deployment(), model=READY, children=seen).apply == ()
    assert kinds(
        plan(deployment(), model=Outcome(**{**vars(READY), "model_path": "runs/x/merged"}), children=seen)
    ) == ["Deployment"]


def test_the_command_on_gpus(deployment: Builder) -> None:
    spec = {
        "tensorParallelSize": 8,
        "expertParallel": True,
        "maxModelLen": 8192,
        "engineArgs": ["--enable-chunked-prefill"],
    }
    server = server_of(plan(deployment(**spec), model=READY))
    assert [*server["command"], *server["args"]] == [
        *("python", "-m", "vllm.entrypoints.cli.main", "serve"),
        f"/volume/{PATH}",
        *("--served-model-name", "$(SERVED_MODEL_NAME)"),
        *("--port", "$(SERVING_PORT)"),
        *("--tensor-parallel-size", "8"),
        *("--pipeline-parallel-size", "1"),
        "--enable-expert-parallel",
        *("--max-model-len", "8192"),
        *("--shutdown-timeout", "270"),
        "--enable-chunked-prefill",
        "--no-trust-remote-code",
    ]
    assert {v["name"]: v["value"] for v in server["env"] if v["name"] != "FINETUNE_PROBE"} == {
        "HOME": "/tmp",
        "SERVED_MODEL_NAME": "faq",
        "SERVING_PORT": "8000",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_USE_DEEP_GEMM": "0",
        "VLLM_USE_FLASHINFER_SAMPLER": "0",
        "VLLM_ALLREDUCE_USE_FLASHINFER": "0",
    }
    assert server["resources"] == {
        "requests": {"cpu": "16", "memory": "53248Mi", "ephemeral-storage": "10240Mi"},
        "limits": {"nvidia.com/gpu": 8},
    }
    assert server["volumeMounts"][0] == {"name": "volume", "mountPath": "/volume", "readOnly": True}


def test_what_is_compiled_outlives_the_pod_in_a_cache(deployment: Builder) -> None:
    pod = plan(deployment(cache={"claimName": "kernels"}), model=READY).apply[-1]["spec"]["template"]["spec"]
    (server,) = pod["containers"]
    volume, mount = pod["volumes"][1], server["volumeMounts"][1]
    assert volume == {"name": "cache", "persistentVolumeClaim": {"claimName": "kernels"}}
    assert mount == {"name": "cache", "mountPath": "/cache"}
    homes = [variable["value"] for variable in server["env"] if variable["name"] == "HOME"]
    assert homes == ["/cache/.server-cache"]
    model = ServedModel(path="models/m", claim="shared")
    of_the_operator = desired_deployment(deployment(), model, Config(cache_claim="kernels"))
    assert of_the_operator["spec"]["template"]["spec"]["volumes"][1] == volume


def test_an_image_with_a_compiler_takes_the_kernels_that_it_builds(deployment: Builder) -> None:
    overrides = {"env": [{"name": "VLLM_USE_DEEP_GEMM", "value": "1"}]}
    server = server_of(plan(deployment(podOverrides=overrides), model=READY))
    chosen = [v["value"] for v in server["env"] if v["name"] == "VLLM_USE_DEEP_GEMM"]
    assert chosen == ["1"]


def test_the_command_on_a_cpu(deployment: Builder) -> None:
    server = server_of(plan(deployment(device="cpu"), model=READY))
    assert server["command"] == ["python", "-m", "vllm.entrypoints.launchers.api_server.entry"]
    assert server["args"][:2] == ["--model", f"/volume/{PATH}"]
    assert server["args"][-8:-5] == ["--enforce-eager", "--dtype", "bfloat16"]
    assert {"name": "VLLM_CPU_KVCACHE_SPACE", "value": "1"} in server["env"]
    assert server["resources"] == {
        "requests": {"cpu": "1", "memory": "4096Mi", "ephemeral-storage": "10240Mi"}
    }


def test_code_of_the_model_runs_only_when_it_is_trusted(deployment: Builder) -> None:
    server = server_of(plan(deployment(trustRemoteCode=True, engineArgs=["--seed", "1"]), model=READY))
    assert server["args"][-3:] == ["--seed", "1", "--trust-remote-code"]


def test_data_parallel_copies_have_gpus_of_their_own(deployment: Builder) -> None:
    server = server_of(plan(deployment(dataParallelSize=8), model=READY))
    assert server["args"][server["args"].index("--data-parallel-size") + 1] == "8"
    assert server["resources"]["limits"] == {"nvidia.com/gpu": 8}


def test_what_an_autoscaler_reads(deployment: Builder) -> None:
    status = plan(deployment(replicas=2), model=READY, deployment=observing.server(replicas=1)).status
    assert status["replicas"] == 1
    assert status["selector"] == (
        "app.kubernetes.io/name=finetune,app.kubernetes.io/instance=faq,app.kubernetes.io/component=serve"
    )


def test_scaled_to_zero(deployment: Builder) -> None:
    scaled = plan(deployment(replicas=0), model=READY)
    assert scaled.status["phase"] == "ScaledToZero"
    assert scaled.apply[-1]["spec"]["replicas"] == 0


@pytest.mark.parametrize(
    "pushing",
    [
        pytest.param({"complete": False, "standing": "The push stage runs"}, id="it is pushed elsewhere"),
        pytest.param({"complete": False, "failure": "PushForbidden"}, id="and that fails"),
    ],
)
def test_a_model_that_was_released_is_served_whatever_becomes_of_a_later_push(
    deployment: Builder, pushing: dict[str, Any]
) -> None:
    made = plan(deployment(), model=Outcome(**{**vars(READY), **pushing}))
    assert "Deployment" in kinds(made)
