"""What counts as a change of ours, and what is the API server's or admission's."""

from typing import Any

import observing
import pytest

from finetune_operator.core.children import changed_children
from finetune_operator.core.digest import with_spec_hash
from finetune_operator.core.drift import covers, dropped
from finetune_operator.core.objects import Manifest


@pytest.mark.parametrize(
    ("live", "desired", "covered"),
    [
        pytest.param({"a": 1, "b": 2}, {"a": 1}, True, id="a default beside ours"),
        pytest.param({"a": 2}, {"a": 1}, False, id="another value"),
        pytest.param({}, {"a": 1}, False, id="a field that is gone"),
        pytest.param({}, {"a": "", "b": {}, "c": []}, True, id="empty fields are left out"),
        pytest.param({}, {"a": False}, False, id="false is no empty field"),
        pytest.param({"name": "x"}, {"name": "x", "readOnly": False}, True, id="but where it is the default"),
        pytest.param({"x": [1, 2]}, {"x": [1]}, False, id="an item more"),
        pytest.param({"x": [2, 1]}, {"x": [1, 2]}, False, id="another order"),
        pytest.param({"x": {"y": None}}, {"x": {"y": {"z": 1}}}, False, id="no object"),
        pytest.param(
            {"annotations": {"kubectl.kubernetes.io/restartedAt": "now", "a": "b"}},
            {"annotations": {"a": "b"}},
            True,
            id="kubectl rollout restart",
        ),
        pytest.param({"cpu": "8"}, {"cpu": 8}, True, id="a quantity is a string"),
        pytest.param({"m": "1Gi"}, {"m": "1024Mi"}, True, id="a quantity in other units"),
        pytest.param({"m": "1Gi"}, {"m": "1G"}, False, id="another quantity"),
        pytest.param({"cpu": "500m"}, {"cpu": "0.5"}, True, id="a part of a quantity"),
        pytest.param({"a": "x"}, {"a": "y"}, False, id="no quantities"),
        pytest.param(
            {"env": [{"name": "INJECTED"}, {"name": "A", "value": "1"}]},
            {"env": [{"name": "A", "value": "1"}]},
            True,
            id="a variable of admission's",
        ),
        pytest.param(
            {"env": [{"name": "A", "value": "2"}]},
            {"env": [{"name": "A", "value": "1"}]},
            False,
            id="a variable of ours",
        ),
    ],
)
def test_covers(live: Any, desired: Any, covered: bool) -> None:
    assert covers(live, desired) is covered


def service(**spec: Any) -> Manifest:
    metadata = {"name": "faq", "namespace": "default", "labels": {"app": "faq"}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def test_what_is_applied() -> None:
    wanted, stamped = service(port=1), with_spec_hash(service(port=1))
    assert changed_children([wanted], {}) == (stamped,)
    assert changed_children([wanted], observing.children([stamped])) == ()
    assert changed_children([wanted], observing.children([{**stamped, "spec": {"port": 2}}])) == (stamped,)
    assert changed_children([service(port=3)], observing.children([stamped])) == (
        with_spec_hash(service(port=3)),
    )


def test_what_is_immutable_is_left_as_an_operator_before_this_one_wrote_it() -> None:
    written = {**service(), "kind": "ConfigMap", "immutable": True, "data": {"run.json": "{}"}}
    wanted = {**written, "data": {"run.json": '{"newField": null}'}}
    assert changed_children([wanted], observing.children([with_spec_hash(written)])) == ()
    assert len(changed_children([wanted], {})) == 1


def test_a_label_that_is_gone_comes_back() -> None:
    wanted, stamped = service(port=1), with_spec_hash(service(port=1))
    live = {**stamped, "metadata": {**stamped["metadata"], "labels": {}}}
    assert changed_children([wanted], observing.children([live])) == (stamped,)


def test_what_is_not_kept_in_memory_is_not_compared() -> None:
    wanted = service(port=1)
    live = {k: v for k, v in with_spec_hash(wanted).items() if k != "spec"}
    assert changed_children([wanted], observing.children([live])) == ()


BOX = {"name": "box", "image": {"reference": "box:1"}}
MOUNT = {"name": "box", "mountPath": "/mnt/box", "readOnly": False}


@pytest.mark.parametrize(
    ("live", "desired", "lost"),
    [
        pytest.param({"a": 1, "b": 2}, {"a": 1}, [], id="a default beside ours"),
        pytest.param({"a": 2}, {"a": 1}, [], id="changed is not dropped"),
        pytest.param({}, {"a": "", "b": {}, "readOnly": False}, [], id="empty fields are left out"),
        pytest.param({"x": {}}, {"x": {"hostUsers": False}}, ["x.hostUsers"], id="a field"),
        pytest.param({}, {"x": {"y": 1}}, ["x"], id="an object"),
        pytest.param({"volumes": []}, {"volumes": [BOX]}, ["volumes[box]"], id="a volume"),
        pytest.param(
            {"volumes": [{"name": "other"}, {"name": "box"}]},
            {"volumes": [BOX]},
            ["volumes[box].image"],
            id="what is in a volume",
        ),
        pytest.param(
            {"volumeMounts": [{**MOUNT, "mountPath": "/a"}, MOUNT]}, {"volumeMounts": [MOUNT]}, [], id="twice"
        ),
        pytest.param({"args": ["a"]}, {"args": ["a", "b"]}, ["args[1]"], id="a word"),
    ],
)
def test_what_the_api_server_has_dropped(live: Manifest, desired: Manifest, lost: list[str]) -> None:
    assert dropped(live, desired) == lost
