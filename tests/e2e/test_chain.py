"""examples/quickstart.yaml in pods: two train, two merge, one pushes; an answer through the Service."""

import json

import pytest
import yaml
from cluster.commands import WAIT
from cluster.real.node import PUSH_REGISTRY
from in_cluster import ROOT, InCluster, quickstart

QUESTION = "How do I resume a stopped run?"

pytestmark = [pytest.mark.usefixtures("operator", "images", "server_image"), pytest.mark.timeout(3600)]


def test_from_manifests_to_an_answer_that_is_the_data_s(place: InCluster) -> None:
    job, deployment = quickstart()
    job["spec"]["workers"] |= {"nodes": 2, "processesPerNode": 1}
    # Two pods of a job are otherwise kept apart, and there is one node.
    job["spec"]["workers"]["podOverrides"] = {"affinity": {"podAntiAffinity": {}}}
    repository = f"models/{place.namespace}"
    job["spec"]["export"] = {"shards": 2, "push": {"uri": f"oci://{PUSH_REGISTRY}/{repository}:v1"}}
    place.apply(yaml.safe_dump_all([job, deployment]))
    place.wait_until_complete("faq")
    assert place.registry(f"{repository}/tags/list")["tags"] == ["v1"]
    place.run("wait", "--for=condition=Available", "modeldeployment/faq", WAIT)
    assert place.ask("faq", QUESTION) == _answers()[QUESTION]


def _answers() -> dict[str, str]:
    lines = (ROOT / "examples/data/faq.jsonl").read_text(encoding="utf-8").splitlines()
    chats = [json.loads(line)["messages"] for line in lines]
    return {question["content"]: answer["content"] for question, answer in chats}
