"""When a server is ready, how long it may take until then, and how it stops."""

from collections.abc import Callable

import pytest
from serving_plans import READY, plan, server_of

from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.capacity.architecture import FLAVORS, Weights
from finetune_operator.core.outcome import Outcome

Builder = Callable[..., ModelDeployment]


def test_ready_means_that_it_generated(deployment: Builder) -> None:
    server = server_of(plan(deployment(tensorParallelSize=8), model=READY))
    assert server["startupProbe"]["exec"]["command"][:2] == ["python", "-c"]
    assert "/v1/completions" in next(v["value"] for v in server["env"] if v["name"] == "FINETUNE_PROBE")


@pytest.mark.parametrize(
    ("grace", "unlisted", "drain"), [(30, 5, "10"), (300, 15, "270"), (3600, 15, "3570")]
)
def test_open_requests_end_before_the_pod_is_killed(
    deployment: Builder, grace: int, unlisted: int, drain: str
) -> None:
    parent = deployment(terminationGracePeriodSeconds=grace)
    template = plan(parent, model=READY).apply[-1]["spec"]["template"]["spec"]
    (server,) = template["containers"]
    assert template["terminationGracePeriodSeconds"] == grace
    assert server["args"][server["args"].index("--shutdown-timeout") + 1] == drain
    assert server["lifecycle"] == {"preStop": {"sleep": {"seconds": unlisted}}}


@pytest.mark.parametrize(
    ("weights", "seconds"),
    [
        pytest.param(None, 600 + 2256, id="8 cards of 141 GB, at 500 MB/s"),
        pytest.param(
            Weights(model=FLAVORS["671B_lora"], dtype="float8"), 600 + 1377, id="the model's 688.6 GB"
        ),
    ],
)
def test_how_long_it_may_take_to_be_ready(deployment: Builder, weights: Weights | None, seconds: int) -> None:
    model = Outcome(**{**vars(READY), "weights": weights})
    made = plan(deployment(tensorParallelSize=8), model=model)
    startup = server_of(made)["startupProbe"]
    assert startup["failureThreshold"] * startup["periodSeconds"] == pytest.approx(seconds, abs=10)
    assert made.apply[-1]["spec"]["progressDeadlineSeconds"] == pytest.approx(seconds + 600, abs=10)
