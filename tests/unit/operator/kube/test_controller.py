"""What one reconcile asks of the API server, and what it makes of the answers."""

import asyncio
import json
from typing import cast

import pytest
from kubernetes.aio.client.exceptions import ApiException

from finetune_operator.core.config import Config
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.delay import nothing_is_late
from finetune_operator.core.observed.kinds import observe
from finetune_operator.kinds import Surroundings
from finetune_operator.kube.api_server import ApiServer
from finetune_operator.kube.controller import Controller
from finetune_operator.kube.endpoint import endpoint_of

ENDING = json.dumps({"message": "forbidden", "details": {"causes": [{"reason": "NamespaceTerminating"}]}})


class Server:
    """Holds objects by kind and name, and notes each request."""

    def __init__(self) -> None:
        self.there: dict[tuple[str, str], Manifest] = {}
        self.asked: list[str] = []
        self.statuses: list[Manifest] = []
        self.is_ending = False
        self.generation = 1
        self.events: list[Manifest] = []

    async def get(self, ref: Ref) -> Manifest | None:
        self.asked.append(f"get {ref.kind}")
        return self.there.get((ref.kind, ref.name))

    async def create(self, child: Manifest) -> Manifest | None:
        self.asked.append(f"create {child['kind']}")
        if self.is_ending:
            refused = ApiException(status=403, reason="Forbidden")
            refused.body = ENDING
            raise refused
        is_there = (child["kind"], child["metadata"]["name"]) in self.there
        return None if is_there else self._answer(child)

    async def apply(self, child: Manifest) -> Manifest:
        self.asked.append(f"apply {child['kind']}")
        return self._answer(child)

    async def apply_status(self, ref: Ref, uid: str, status: Manifest) -> Manifest:
        self.asked.append("status")
        self.statuses.append(status)
        answer = fine_tune_job(generation=self.generation) | {"status": status}
        assert (Ref.of(answer), answer["metadata"]["uid"]) == (ref, uid)
        return self._answer(answer)

    async def create_event(self, event: Manifest) -> None:
        self.asked.append("event")
        self.events.append(event)

    def _answer(self, obj: Manifest) -> Manifest:
        metadata = {"uid": "u", **obj["metadata"], "resourceVersion": str(len(self.asked) + 1)}
        self.there[obj["kind"], metadata["name"]] = answer = {**obj, "metadata": metadata}
        return answer


def fine_tune_job(generation: int = 1) -> Manifest:
    metadata = {"name": "faq", "namespace": "ml", "uid": "u-1", "generation": generation}
    return {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {**metadata, "resourceVersion": "1"},
        "spec": {
            "model": {"uri": "models/tiny"},
            "flavor": "tiny_lora",
            "dataset": {"uri": "datasets/faq.jsonl"},
            "training": {"steps": 10},
            "storage": {"claimName": "shared"},
        },
    }


class Job:
    """Reconciled at a server, each time from where the last one ended."""

    def __init__(self, server: Server) -> None:
        self.woken: list[Ref] = []
        cache = Cache()
        cache.put(observe(fine_tune_job()))
        around = Surroundings(
            adapters_of=lambda _: None,
            requests_of=lambda _: None,
            objects=cache,
            progress_of=lambda _: None,
            endpoint_of=endpoint_of,
            delay_of=nothing_is_late,
        )
        self._controller = Controller(around, cast(ApiServer, server), Config(), self.woken.append)

    def reconcile(self) -> float | None:
        return asyncio.run(self._controller.reconcile(Ref.of(fine_tune_job())))


def test_a_new_job_costs_four_requests_and_its_status_waits_until_its_job_starts() -> None:
    server = Server()
    job = Job(server)
    assert job.reconcile() == 5.0
    assert server.asked[-1] == "create Job"
    assert sorted(server.asked[:-1]) == ["create ConfigMap", "create NetworkPolicy", "create Service"]
    server.asked.clear()
    assert job.reconcile() is None
    assert [request for request in server.asked if request != "event"] == ["status"]
    assert job.woken == []


def test_what_the_api_server_has_dropped_of_a_new_child_is_said() -> None:
    class Older(Server):
        """Knows no podReplacementPolicy."""

        def _answer(self, obj: Manifest) -> Manifest:
            spec = {key: value for key, value in obj.get("spec", {}).items() if key != "podReplacementPolicy"}
            return super()._answer({**obj, "spec": spec} if obj["kind"] == "Job" else obj)

    server = Older()
    job = Job(server)
    job.reconcile()
    (event,) = server.events
    assert (event["type"], event["reason"]) == ("Warning", "FieldsDropped")
    assert "without spec.podReplacementPolicy: this Kubernetes has no such field" in event["message"]
    job.reconcile()
    assert [each["reason"] for each in server.events].count("FieldsDropped") == 1


@pytest.mark.parametrize("kind", ["ConfigMap", "Service", "Job"])
def test_what_is_somebody_elses_is_not_taken_over(kind: str) -> None:
    server, theirs = Server(), Server()
    Job(server).reconcile()
    (key,) = [key for key in server.there if key[0] == kind]
    theirs.there[key] = {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": key[1], "namespace": "ml", "uid": "theirs"},
    }
    before = dict(theirs.there)
    Job(theirs).reconcile()
    assert theirs.there[key] == before[key]
    stalled = next(c for c in theirs.statuses[-1]["conditions"] if c["type"] == "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "ChildRefused")


def test_a_child_whose_answer_was_lost_is_not_made_twice() -> None:
    server = Server()
    Job(server).reconcile()
    made = set(server.there)
    Job(server).reconcile()
    assert set(server.there) == made
    assert server.statuses == []


def test_nothing_is_said_in_a_namespace_that_is_being_deleted() -> None:
    server = Server()
    server.is_ending = True
    assert Job(server).reconcile() is None
    assert {"status", "event"}.isdisjoint(server.asked)


def test_a_spec_that_changed_while_the_status_was_written_wakes_its_job() -> None:
    server = Server()
    job = Job(server)
    job.reconcile()
    server.generation = 2
    job.reconcile()
    assert job.woken == [Ref.of(fine_tune_job())]


def test_a_webhook_that_changes_a_child_is_not_fought_every_second() -> None:
    server = Webhook()
    job = Job(server)
    again = [job.reconcile() for _ in range(6)]
    assert server.asked.count("apply Service") == 3
    assert again[-1] is not None
    assert 1 < again[-1] <= 10


class Webhook(Server):
    """Takes a label away from each Service, in the request itself."""

    def _answer(self, obj: Manifest) -> Manifest:
        answer = super()._answer(obj)
        if obj["kind"] == "Service":
            answer["metadata"]["labels"] = {}
        return answer
