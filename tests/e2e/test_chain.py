"""examples/quickstart.yaml in pods: two train, two merge, one evaluates, one pushes; then answers."""

import json
from datetime import datetime
from typing import Any

import pytest
import yaml
from cluster.commands import WAIT
from cluster.real.node import PUSH_REGISTRY
from figures import Figures
from in_cluster import ROOT, TOGETHER, InCluster, quickstart

QUESTION = "How do I resume a stopped run?"

pytestmark = [pytest.mark.usefixtures("operator", "images"), pytest.mark.timeout(3600)]


def test_from_manifests_to_an_answer_that_is_the_data_s(place: InCluster, figures: Figures) -> None:
    job, deployment = quickstart()
    job["spec"]["workers"] |= {"nodes": 2, "processesPerNode": 1, "podOverrides": TOGETHER}
    repository = f"models/{place.namespace}"
    job["spec"]["export"] = {"shards": 2, "push": {"uri": f"oci://{PUSH_REGISTRY}/{repository}:v1"}}
    with figures.timed("apply to answer"):
        place.apply(yaml.safe_dump_all([job, deployment]))
        place.wait_until_complete("faq")
        place.run("wait", "--for=condition=Available", "modeldeployment/faq", WAIT)
        assert place.ask("faq", QUESTION) == _answers()[QUESTION]
    assert place.registry(f"{repository}/tags/list")["tags"] == ["v1"]
    _serve_the_image(place, deployment, f"oci://{PUSH_REGISTRY}/{repository}:v1", figures)
    figures.tell(
        "apply to each condition of the job", _seconds_to_conditions(place.get("finetunejob", "faq"))
    )


def _serve_the_image(place: InCluster, deployment: dict[str, Any], uri: str, figures: Figures) -> None:
    """What was pushed, by a server that the kubelet mounts it for; the one before makes room."""
    place.run("delete", "modeldeployment", "faq", WAIT)
    spec = deployment["spec"] | {"model": {"uri": uri}}
    with figures.timed("the pushed image: apply to answer"):
        place.apply(yaml.safe_dump(deployment | {"metadata": {"name": "pushed"}, "spec": spec}))
        place.run("wait", "--for=condition=Available", "modeldeployment/pushed", WAIT)
        assert place.ask("pushed", QUESTION) == _answers()[QUESTION]


def _answers() -> dict[str, str]:
    lines = (ROOT / "examples/data/faq.jsonl").read_text(encoding="utf-8").splitlines()
    chats = [json.loads(line)["messages"] for line in lines]
    return {question["content"]: answer["content"] for question, answer in chats}


def _seconds_to_conditions(job: dict[str, Any]) -> dict[str, float]:
    """Of those that are true at the end."""
    applied = datetime.fromisoformat(job["metadata"]["creationTimestamp"])
    true = [each for each in job["status"]["conditions"] if each["status"] == "True"]
    times = {each["type"]: datetime.fromisoformat(each["lastTransitionTime"]) for each in true}
    return {of: (at - applied).total_seconds() for of, at in sorted(times.items(), key=lambda each: each[1])}
