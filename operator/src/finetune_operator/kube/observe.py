"""Observes the cache as the local engine observes its store: the same dataclasses come out."""

from collections.abc import Iterable

from finetune_operator import finetune, serving
from finetune_operator.api.validation import KINDS
from finetune_operator.core.deployment_observation import observe_deployment
from finetune_operator.core.job_observation import observe_job
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.finetune.observed import ObservedProgress
from finetune_operator.kube.cache import Cache
from finetune_operator.kube.named_job import named_job_ref, observe_named_job
from finetune_operator.serving.model import named_jobs
from finetune_operator.serving.startup import HTTP_PORT


def observe_fine_tune_job(
    cache: Cache, parent: Manifest, progress: ObservedProgress | None
) -> finetune.Observed:
    """Return what is seen of a FineTuneJob's children."""
    jobs = cache.owned_by(parent, "Job")
    return finetune.Observed(
        children=_children(cache, parent),
        jobs=tuple(observe_job(job, cache.owned_by(job, "Pod")) for job in jobs),
        progress=progress,
    )


def observe_model_deployment(cache: Cache, parent: Manifest) -> serving.Observed:
    """Return what is seen of a ModelDeployment's children, and of the job that it names."""
    deployment = next(iter(cache.owned_by(parent, "Deployment")), None)
    service = next(iter(cache.owned_by(parent, "Service")), None)
    named = {name: cache.get(named_job_ref(parent, name)) for name in named_jobs(parent)}
    return serving.Observed(
        children=_children(cache, parent),
        jobs={name: observe_named_job(job) for name, job in named.items() if job},
        deployment=observe_deployment(deployment, cache.beside(deployment, "Pod")) if deployment else None,
        endpoint=_endpoint(service) if service else None,
    )


def parents_of(cache: Cache, obj: Manifest) -> Iterable[Ref]:
    """Yield the parents whose reconcile may come to something else now that an object has changed."""
    if obj["kind"] == "Pod":
        makers = [*cache.beside(obj, "Job"), *cache.beside(obj, "Deployment")]
        yield from {ref for maker in makers for ref in _owners(maker)}
        return
    yield from _owners(obj)
    if obj["kind"] in KINDS:
        yield Ref.of(obj)
    if obj["kind"] == "FineTuneJob":
        yield from (
            Ref.of(d)
            for d in cache.of_kind("ModelDeployment")
            if Ref.of(obj) in {named_job_ref(d, name) for name in named_jobs(d)}
        )


def _owners(obj: Manifest) -> Iterable[Ref]:
    for owner in obj["metadata"].get("ownerReferences", []):
        if owner["kind"] in KINDS:
            yield Ref(
                api_version=owner["apiVersion"],
                kind=owner["kind"],
                namespace=obj["metadata"]["namespace"],
                name=owner["name"],
            )


def _children(cache: Cache, parent: Manifest) -> dict[Ref, Manifest]:
    return {Ref.of(child): child for child in cache.owned_by(parent)}


def _endpoint(service: Manifest) -> str:
    metadata = service["metadata"]
    return f"http://{metadata['name']}.{metadata['namespace']}.svc:{HTTP_PORT}"
