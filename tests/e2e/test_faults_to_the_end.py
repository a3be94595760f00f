"""Faults that a job waits for, or fails of, until somebody mends them; each is then seen to its end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from cluster.commands import WAIT, Run
from cluster.real.cluster import RealCluster
from figures import Figures
from in_cluster import ROOT, SYSTEM, InCluster
from training_job import start, status
from waiting import until

pytestmark = [pytest.mark.usefixtures("operator", "trainer_image"), pytest.mark.timeout(3600)]


def test_a_full_volume_is_named_and_the_job_goes_on_once_it_is_larger(
    place: InCluster, cluster: RealCluster, figures: Figures
) -> None:
    with _of_its_own_size(place, cluster, "26m") as enlarge:
        start(place, steps=30, restarts=1)
        until("a failure", lambda: place.condition("finetunejob", "faq", "Failed").get("status") == "True")
        failed = place.condition("finetunejob", "faq", "Failed")
        assert "Free space" in failed["message"]
        enlarge("200m")
        with figures.timed("a full volume: from the retry, once it is larger, to Complete"):
            failures_up_to_then = f"finetune.dev/retried-at={failed['lastTransitionTime']}"
            place.run("annotate", "finetunejob", "faq", failures_up_to_then)
            until("no failure", lambda: place.condition("finetunejob", "faq", "Failed")["status"] == "False")
            place.wait_until_complete("faq")


def test_an_image_that_cannot_be_pulled_is_named_and_the_job_goes_on_with_another(
    place: InCluster, helm: Run, figures: Figures
) -> None:
    with _trainer_tag(helm, "no-such-tag"):
        start(place, steps=5)
        until("the image in the message", lambda: "no-such-tag" in _says(place))
    with figures.timed("an image that was not there: from the chart that has it, to prepared"):
        until("prepared", lambda: place.condition("finetunejob", "faq", "Prepared")["status"] == "True")
    place.wait_until_complete("faq")
    assert not status(place).get("restarts")


@contextmanager
def _of_its_own_size(place: InCluster, cluster: RealCluster, size: str) -> Iterator[Callable[[str], object]]:
    """The claim's volume: mounted over its folder where the kubelet looks for it. Yields what resizes it."""
    node = cluster.node.namespaces
    base = str(place.volume)
    node.run("cp", "--archive", base, f"{base}.kept")
    node.run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", base)
    try:
        node.run("cp", "--archive", f"{base}.kept/.", base)
        yield lambda larger: node.run("mount", "-o", f"remount,size={larger}", base)
    finally:
        place.run("delete", "finetunejob", "faq", WAIT)
        node.run("umount", "--lazy", base)


@contextmanager
def _trainer_tag(helm: Run, tag: str) -> Iterator[None]:
    chart = str(ROOT / "helm/finetune-operator")
    here = (f"--namespace={SYSTEM}", "--reuse-values", "--wait", WAIT)
    helm("upgrade", "finetune-operator", chart, *here, "--set", f"images.trainer.tag={tag}")
    try:
        yield
    finally:
        helm("rollback", "finetune-operator", f"--namespace={SYSTEM}", "--wait", WAIT)


def _says(place: InCluster) -> str:
    return str(place.condition("finetunejob", "faq", "Prepared").get("message", ""))
