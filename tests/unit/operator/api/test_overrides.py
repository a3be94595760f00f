"""Overrides that are refused, each by its field."""

from typing import Any

import pytest

from finetune_operator.api.field_errors import field_errors
from finetune_operator.api.job import FineTuneJob

BASE = {
    "model": {"uri": "models/b"},
    "flavor": "tiny_lora",
    "dataset": {"uri": "datasets/d.jsonl"},
    "training": {"steps": 10},
    "workers": {"device": "cpu"},
    "storage": {"claimName": "models"},
}
EMPTY = {"name": "box", "emptyDir": {}}


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        pytest.param({"serve": {}}, "spec.stageOverrides.serve", id="a server is no stage"),
        pytest.param({"merge-shards": {}}, "spec.stageOverrides.merge-shards", id="shards are of merge"),
        pytest.param(
            {"train": {"volumess": []}}, "spec.stageOverrides.train.volumess: is no field", id="no field"
        ),
        pytest.param(
            {"train": {"volumes": [{"name": "box"}]}},
            "spec.stageOverrides.train.volumes[0]: a volume has one source",
            id="a volume without a source",
        ),
        pytest.param(
            {"train": {"volumes": [{**EMPTY, "hostPath": {"path": "/x"}}]}},
            "spec.stageOverrides.train.volumes[0]: a volume has one source",
            id="a volume with two",
        ),
        pytest.param(
            {"train": {"volumes": [EMPTY, EMPTY]}},
            "spec.stageOverrides.train.volumes: box is there twice",
            id="twice",
        ),
        pytest.param(
            {"train": {"volumes": [{**EMPTY, "name": "run"}]}},
            "spec.stageOverrides.train.volumes: a volume has the name of one of the operator's",
            id="a volume of ours",
        ),
        pytest.param(
            {"train": {"volumeMounts": [{"name": "box", "mountPath": "/tmp"}]}},
            "spec.stageOverrides.train.volumeMounts: something of the operator's is at that path",
            id="a path of ours",
        ),
        pytest.param(
            {"train": {"volumeMounts": [{"name": "box", "mountPath": "mnt"}]}},
            "spec.stageOverrides.train.volumeMounts[0].mountPath",
            id="no absolute path",
        ),
        pytest.param(
            {"prepare": {"initContainers": [{"name": "main", "image": "x"}]}},
            "spec.stageOverrides.prepare.initContainers: a container has the name of one of the operator's",
            id="a container of ours",
        ),
        pytest.param(
            {"prepare": {"initContainers": [{"name": "x"}]}},
            "spec.stageOverrides.prepare.initContainers[0].image: is required",
            id="no image",
        ),
        pytest.param(
            {"prepare": {"dnsPolicy": "None"}},
            "spec.stageOverrides.prepare.dnsPolicy: dnsPolicy None",
            id="no names",
        ),
        pytest.param(
            {"prepare": {"dnsPolicy": "None", "dnsConfig": {"searches": ["acme.internal"]}}},
            "spec.stageOverrides.prepare.dnsPolicy: dnsPolicy None",
            id="no name servers",
        ),
        pytest.param(
            {"prepare": {"hostAliases": [{"ip": "10.0.0.1", "hostnames": []}]}},
            "spec.stageOverrides.prepare.hostAliases[0].hostnames",
            id="no host names",
        ),
        pytest.param(
            {"prepare": {"hostAliases": [{"ip": "cache.local", "hostnames": ["hub"]}]}},
            "spec.stageOverrides.prepare.hostAliases[0].ip: is 'cache.local'; use an IP address",
            id="no address",
        ),
    ],
)
def test_a_refusal_names_the_field(stages: dict[str, Any], said: str) -> None:
    manifest = {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": "faq"},
        "spec": {**BASE, "stageOverrides": stages},
    }
    assert said in "\n".join(map(str, field_errors(FineTuneJob, manifest)))
