"""Generated specs, created for nothing (dryRun): what is refused, and what comes of the rest."""

import json
import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from ssl import SSLContext
from typing import Any

import observing
import urllib3
import yaml
from cluster.controlplane import ControlPlane
from generated_specs import changed, fields_of
from parents import JOB, PLURALS

from finetune_operator.api.container import ResourceRequirements
from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.api.field_errors import field_errors
from finetune_operator.api.job import FineTuneJob
from finetune_operator.core.config import Config
from finetune_operator.core.digest import digest
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.observed.child import ObservedChild
from finetune_operator.core.observed.job import JobState, ObservedJob
from finetune_operator.core.outcome import Outcome
from finetune_operator.core.run import run_of
from finetune_operator.finetune import Observed
from finetune_operator.finetune.children.names import names_of
from finetune_operator.finetune.reconcile import reconcile as reconcile_job
from finetune_operator.finetune.stages import stages_of
from finetune_operator.kube.resources import BY_KIND
from finetune_operator.serving import Observed as ServingObserved
from finetune_operator.serving.reconcile import reconcile as reconcile_deployment

ROOT = Path(__file__).parents[3]
MODELS = {"FineTuneJob": FineTuneJob, "ModelDeployment": ModelDeployment}
DEPLOYMENT = {"model": {"uri": "models/tiny"}, "storage": {"claimName": "models"}, "device": "cpu"}
BASES = {"FineTuneJob": JOB, "ModelDeployment": DEPLOYMENT}
OURS_ALONE = {rule.problem for rule in ResourceRequirements.rules if not rule.in_schema}
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG = Config(has_http_routes=True, has_scaled_objects=True)
# The schema names it by its path, the admission policy after what it has denied.
NAMES_A_FIELD = re.compile(r"(spec|metadata|unknownField)[.\[\":]?|denied request: \w+")


class Server:
    """An API server, asked many times at once; nothing is kept (dryRun)."""

    def __init__(self, plane: ControlPlane, tls: SSLContext, namespace: str) -> None:
        kubeconfig = json.loads(plane.credentials.kubeconfig("admin").read_text())
        self._token = kubeconfig["users"][0]["user"]["token"]
        self._pool = urllib3.HTTPSConnectionPool(
            "127.0.0.1", plane.ports["kube-apiserver"], maxsize=8, ssl_context=tls
        )
        self._namespace = namespace

    def create(self, manifest: Manifest) -> tuple[int, Any]:
        plural = PLURALS[manifest["kind"]]
        path = f"/apis/finetune.dev/v1alpha1/namespaces/{self._namespace}/{plural}"
        return self._ask("POST", f"{path}?dryRun=All&fieldValidation=Strict", manifest, "application/json")

    def apply(self, child: Manifest) -> tuple[int, Any]:
        path = BY_KIND[child["kind"]].path(self._namespace, child["metadata"]["name"])
        query = "?dryRun=All&fieldManager=test&force=true"
        return self._ask("PATCH", path + query, child, "application/apply-patch+yaml")

    def _ask(self, method: str, path: str, body: Manifest, content_type: str) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type}
        answer = self._pool.request(method, path, body=json.dumps(body), headers=headers)
        return answer.status, json.loads(answer.data)


def manifests(kind: str, namespace: str, specs: int) -> Iterator[Manifest]:
    """So many specs of a kind, always the same ones."""
    plural = PLURALS[kind]
    crd = yaml.safe_load((ROOT / f"crds/{plural}.finetune.dev.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    fields, draw = list(fields_of(schema)), random.Random(kind)
    for number in range(specs):
        yield {
            "apiVersion": "finetune.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": f"generated-{number}", "namespace": namespace},
            "spec": changed(deepcopy(BASES[kind]), fields, draw),
        }


def outcomes(server: Server, namespace: str, kind: str, specs: int) -> list[str]:
    """What becomes of each of so many specs: `taken`, `refused`, or what is wrong."""
    applied: set[str] = set()
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(partial(outcome, server, applied), manifests(kind, namespace, specs)))


def outcome(server: Server, applied: set[str], manifest: Manifest) -> str:
    """`taken`, `refused`, or what is wrong."""
    status, answer = server.create(manifest)
    ours = field_errors(MODELS[manifest["kind"]], manifest)
    if status >= 400:
        named = status in (400, 422) and NAMES_A_FIELD.search(answer["message"])
        return "refused" if named else f"{status} names no field: {answer['message']} for {manifest['spec']}"
    if ours and all(error.problem in OURS_ALONE for error in ours):
        return "refused"
    if ours:
        return f"the API server takes what we refuse ({ours[0]}): {manifest['spec']}"
    for child in children_of(answer):
        if problem := refused_child(server, applied, child):
            return f"{problem} for {manifest['spec']}"
    return "taken"


def refused_child(server: Server, applied: set[str], child: Manifest) -> str:
    """Why the API server refuses a child; those that differ in their names alone are asked about once."""
    name = child["metadata"]["name"]
    key = digest(json.loads(json.dumps(child).replace(name, "NAME")))
    if key in applied:
        return ""
    status, answer = server.apply(child)
    if status >= 400:
        return f"{child['kind']} {name} is refused: {answer['message']}"
    applied.add(key)
    return ""


def children_of(answer: Manifest) -> Iterator[Manifest]:
    """What is applied in the whole life of an object as the API server would store it."""
    answer = {**answer, "metadata": {**answer["metadata"], "uid": "00000000-0000-0000-0000-000000000000"}}
    model = Outcome(
        claim="models", model_path="runs/merged", adapter_path="runs/adapter", rank=16, complete=True
    )
    jobs = {ref.name: model for ref in observing.parent(answer).named_jobs}
    if answer["kind"] == "ModelDeployment":
        deployment = ModelDeployment.model_validate(answer)
        yield from reconcile_deployment(deployment, ServingObserved(jobs=jobs), NOW, CONFIG).apply
        return
    job = FineTuneJob.model_validate(answer)
    names = names_of(job, run_of(job.spec))
    done: tuple[ObservedJob, ...] = ()
    known: dict[Ref, ObservedChild] = {}
    for stage in stages_of(job.spec):
        plan = reconcile_job(job, Observed(children=known, jobs=done, named=jobs), NOW, Config())
        known |= observing.children(plan.apply)
        yield from plan.apply
        name = names.job(stage, 0)
        succeeded = observing.attempt(stage, state=JobState.SUCCEEDED, run=names.run, finished=NOW, name=name)
        done = (*done, succeeded)
