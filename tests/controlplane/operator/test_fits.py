"""What does not fit is not started, and says so; changed, it goes on."""

import dataclasses
import json

from cluster.commands import Run
from cluster.pods import Pods, succeed
from kubernetes import client
from parents import Parents, job_spec
from waiting import until

from finetune_operator.core.capacity.architecture import DEEPSEEK_V3

LARGE = {
    "flavor": "671B_lora",
    "training": {"steps": 10, "recompute": "full", "parallelism": {"expert": 8}},
    "export": {"dtype": "bfloat16"},
}


def test_a_job_that_does_not_fit_makes_nothing_until_it_does(parents: Parents, kubectl: Run) -> None:
    one_node = {"nodes": 1, "gpusPerNode": 8}
    parents.create("FineTuneJob", "large", job_spec(**LARGE, workers=one_node))

    kubectl("wait", "--for=condition=Fits=false", "ftj/large", "--namespace", parents.namespace)

    fits = parents.condition("FineTuneJob", "large", "Fits")
    assert fits["message"] == (
        "Training needs 182 GB of the 141 GB of each GPU (frozen base in bfloat16: 168 GB): "
        "set training.frozenDtype to float8, or set workers.nodes to 2"
    )
    assert parents.condition("FineTuneJob", "large", "Stalled")["status"] == "True"
    warning = ("Warning", "TrainingNeedsMoreMemory")
    until("a warning", lambda: warning in parents.events("FineTuneJob", "large"))
    assert parents.jobs() == []
    parents.patch("FineTuneJob", "large", {"workers": {"nodes": 2}})
    parents.until("FineTuneJob", "large", "Fits")
    until("a Job that prepares", lambda: [job for job in parents.jobs() if "-prepare-" in job.metadata.name])


def test_what_prepare_tells_of_a_base_is_compared_before_a_gpu_is_held(parents: Parents, pods: Pods) -> None:
    told = json.dumps({"architecture": dataclasses.asdict(DEEPSEEK_V3)})
    pods.play({"app.kubernetes.io/component": "prepare"}, succeed(message=told))
    parents.create("FineTuneJob", "large", job_spec(flavor="auto", workers={"gpusPerNode": 1}))

    fits = parents.until("FineTuneJob", "large", "Fits", "False")

    assert fits["reason"] == "TrainingNeedsMoreMemory"
    assert parents.until("FineTuneJob", "large", "Failed")["reason"] == "TrainingNeedsMoreMemory"
    assert parents.condition("FineTuneJob", "large", "Prepared")["status"] == "True"
    assert ["-prepare-" in job.metadata.name for job in parents.jobs()] == [True]


def test_a_deployment_that_the_model_does_not_fit_makes_no_pod(parents: Parents) -> None:
    parents.create("FineTuneJob", "large", job_spec(**LARGE, workers={"nodes": 4, "gpusPerNode": 8}))
    served = {"model": {"fineTuneJobRef": {"name": "large"}}, "tensorParallelSize": 8}
    parents.create("ModelDeployment", "large", served)

    fits = parents.until("ModelDeployment", "large", "Fits", "False")

    assert fits["message"] == (
        "Serving in bfloat16 needs 1,342 GB of the 1,128 GB of 8 GPUs; no change of one field makes it fit"
    )
    assert parents.condition("ModelDeployment", "large", "Stalled")["status"] == "True"
    assert client.AppsV1Api(parents.api).list_namespaced_deployment(parents.namespace).items == []
