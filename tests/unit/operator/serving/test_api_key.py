"""Another key of a server is another pod, so that keys can be changed without a pause."""

from collections.abc import Callable
from typing import Any

import serving_plans

from finetune_operator.api.deployment import ModelDeployment


def template(deployment: ModelDeployment) -> Any:
    return serving_plans.plan(deployment, serving_plans.READY).apply[-1]["spec"]["template"]


def test_another_key_replaces_the_pods_one_by_one(deployment: Callable[..., ModelDeployment]) -> None:
    before = deployment(replicas=2, apiKeySecretRef={"name": "api", "key": "key"})
    after = deployment(replicas=2, apiKeySecretRef={"name": "api", "key": "key-2"})
    assert template(before) != template(after)
    (container,) = template(after)["spec"]["containers"]
    (variable,) = (each for each in container["env"] if each["name"] == "VLLM_API_KEY")
    assert variable["valueFrom"] == {"secretKeyRef": {"name": "api", "key": "key-2"}}
    made = serving_plans.plan(after, serving_plans.READY).apply[-1]["spec"]
    assert made["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
