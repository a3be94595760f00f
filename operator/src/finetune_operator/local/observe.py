"""Observes the store as kube observes a cluster: the same dataclasses come out."""

from dataclasses import dataclass

from finetune_operator import finetune, serving
from finetune_operator.core.deployment_observation import observe_deployment
from finetune_operator.core.job_observation import observe_job
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.kube.named_job import named_job_ref, observe_named_job
from finetune_operator.local.kubelet import Kubelet
from finetune_operator.local.progress import ProgressPoller
from finetune_operator.local.store import Store
from finetune_operator.serving.model import named_jobs


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Where to look."""

    store: Store
    kubelet: Kubelet
    poller: ProgressPoller

    def children(self, parent: Manifest, kind: str | None = None) -> list[Manifest]:
        """Return what a parent owns, of one kind or of all."""
        owned = self.store.owned_by(parent["metadata"]["uid"])
        return [child for child in owned if kind in (None, child["kind"])]

    def children_by_ref(self, parent: Manifest) -> dict[Ref, Manifest]:
        """Return what a parent owns, each under its reference."""
        return {Ref.of(child): child for child in self.children(parent)}


def observe_fine_tune_job(at: Surroundings, parent: Manifest) -> finetune.Observed:
    """Return what is seen of a FineTuneJob's children; pod 0 of the Job that runs tells the progress."""
    jobs = {job["metadata"]["name"]: job for job in at.children(parent, "Job")}
    pods = {name: at.children(job, "Pod") for name, job in jobs.items()}
    answers = (at.poller.progress_of(Ref.of(pods_of_job[0])) for pods_of_job in pods.values() if pods_of_job)
    return finetune.Observed(
        children=at.children_by_ref(parent),
        jobs=tuple(observe_job(job, pods[name]) for name, job in jobs.items()),
        progress=next((answer for answer in answers if answer), None),
    )


def observe_model_deployment(at: Surroundings, parent: Manifest) -> serving.Observed:
    """Return what is seen of a ModelDeployment's children, and of the job that it names."""
    deployment = next(iter(at.children(parent, "Deployment")), None)
    pods = at.children(deployment, "Pod") if deployment else []
    named = {name: at.store.get(named_job_ref(parent, name)) for name in named_jobs(parent)}
    return serving.Observed(
        children=at.children_by_ref(parent),
        jobs={name: observe_named_job(job) for name, job in named.items() if job},
        deployment=observe_deployment(deployment, pods) if deployment else None,
        endpoint=_endpoint(at, pods),
    )


def _endpoint(at: Surroundings, pods: list[Manifest]) -> str | None:
    """Return the address of the first replica that runs: one machine has no load balancer."""
    ports = (at.kubelet.port_of(Ref.of(pod), "http") for pod in pods)
    return next((f"http://127.0.0.1:{port}" for port in ports if port), None)
