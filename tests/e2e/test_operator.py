"""The operator in its own image, by the chart."""

import json

import pytest
from cluster.commands import WAIT, Run
from waiting import until

SYSTEM = "finetune-system"
HERE = f"--namespace={SYSTEM}"
LOOK = "import os, socket; print(os.getuid(), os.access('/opt', os.W_OK), socket.gethostbyname('{name}'))"

pytestmark = pytest.mark.usefixtures("operator")


def test_its_pods_are_ready_and_one_leads(kubectl: Run) -> None:
    kubectl("rollout", "status", "deployment/finetune-operator", HERE, WAIT)
    pods = set(kubectl("get", "pods", HERE, "--output=name").stdout.split())
    lease = json.loads(kubectl("get", "lease", "finetune-operator", HERE, "--output=json").stdout)
    assert "pod/" + lease["spec"]["holderIdentity"].partition("_")[0] in pods


def test_it_is_no_root_and_finds_names(kubectl: Run) -> None:
    look = LOOK.format(name="kubernetes.default.svc")
    shown = kubectl("exec", "deployment/finetune-operator", HERE, "--", "python", "-c", look).stdout
    assert shown.split() == ["65532", "False", "10.96.0.1"]


def test_those_that_are_killed_are_followed_by_others(kubectl: Run) -> None:
    before = set(kubectl("get", "pods", HERE, "--output=name").stdout.split())
    kubectl("delete", "pods", "--all", HERE, "--grace-period=0", "--force", WAIT)
    until(
        "other pods", lambda: not before & set(kubectl("get", "pods", HERE, "--output=name").stdout.split())
    )
    kubectl("rollout", "status", "deployment/finetune-operator", HERE, WAIT)
