"""Children that are late: whom the API server is asked about, how often, and what becomes of the answer."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from kubernetes.aio.client.exceptions import ApiException

from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.kinds import observe
from finetune_operator.core.observed.object import ObservedObject
from finetune_operator.kube.api_server import ApiServer
from finetune_operator.kube.delays import Delays

T0 = datetime(2026, 1, 1, tzinfo=UTC)
START = "2026-01-01T00:00:00Z"
REFUSED = 'Error creating: pods "faq-x7k2p" is forbidden: exceeded quota: none, requested: pods=1'


def event(reason: str, message: str, at: str = START) -> Manifest:
    return {"metadata": {}, "reason": reason, "message": message, "lastTimestamp": at}


@dataclass
class Around:
    """A cache, and an API server that has events by uid."""

    events: dict[str, list[Manifest]] = field(default_factory=dict)
    refusal: Exception | None = None
    asked: list[str] = field(default_factory=list)
    woken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cache = Cache()
        self.delays = Delays(self.cache, cast(ApiServer, self), lambda obj: self.woken.append(obj.name))

    async def list_events_of(self, ref: Ref, uid: str) -> list[Manifest]:
        self.asked.append(ref.name)
        if self.refusal:
            raise self.refusal
        return self.events.get(uid, [])

    def put(self, obj: Manifest) -> ObservedObject:
        seen = observe(obj)
        self.cache.put(seen)
        return seen

    def look(self, after: float) -> None:
        asyncio.run(self.delays.look(T0 + timedelta(seconds=after)))

    def said_of(self, obj: ObservedObject) -> str:
        wait = self.delays.delay_of(obj)
        return wait.sentence if wait else ""


@pytest.fixture
def around() -> Around:
    return Around()


def job(objects: Any, version: int = 1, **status: Any) -> Manifest:
    made: Manifest = objects.make(
        "Job",
        "faq-train-0",
        version=version,
        spec={"parallelism": 1},
        status={"startTime": START, **status},
    )
    return made


def test_a_job_whose_pods_are_refused_says_so_once_it_is_late(around: Around, objects: Any) -> None:
    seen = around.put(job(objects))
    around.events[seen.uid] = [event("FailedCreate", REFUSED)]
    around.look(after=19)
    assert (around.asked, around.said_of(seen)) == ([], "")
    around.look(after=20)
    assert around.said_of(seen) == (
        "its pods are refused: exceeded quota: none, requested: pods=1 (since 2026-01-01T00:00:00Z). "
        "Free what the quota counts, or have it raised: `kubectl describe resourcequota`"
    )
    assert around.woken == ["faq-train-0"]


def test_it_is_asked_again_ever_later_and_the_same_answer_wakes_nobody(around: Around, objects: Any) -> None:
    seen = around.put(job(objects))
    around.events[seen.uid] = [event("FailedCreate", REFUSED)]
    for seconds in range(0, 3600, 5):
        around.look(after=seconds)
    assert len(around.asked) == 10  # after 20, 40, 80 ... 640 seconds, then every ten minutes
    assert around.woken == ["faq-train-0"]


def test_what_is_late_no_more_wakes_its_parent(around: Around, objects: Any) -> None:
    around.put(job(objects))
    around.look(after=60)
    made = around.put(job(objects, version=2, active=1))
    around.look(after=61)
    assert around.said_of(made) == ""
    assert around.woken == ["faq-train-0", "faq-train-0"]


@pytest.mark.parametrize(
    ("events", "said"),
    [
        pytest.param([], "pod pod is on its node and does not start (since", id="nobody says why"),
        pytest.param(
            [
                event("Scheduled", "Successfully assigned", "2026-01-01T00:00:09Z"),
                event("FailedMount", 'secret "ca" not found', "2026-01-01T00:00:05Z"),
                event("FailedMount", "timed out", "2026-01-01T00:00:03Z"),
            ],
            'pod pod is on its node and does not start: FailedMount: secret "ca" not found (since',
            id="the newest",
        ),
        pytest.param(
            [event("FailedMount", "x" * 100_000)],
            "pod pod is on its node and does not start: FailedMount: xxx",
            id="endless",
        ),
        pytest.param([{"metadata": {}, "reason": "Odd"}], "pod pod is on its node", id="without a time"),
        pytest.param(
            [{"metadata": {}, "reason": "Pulling", "message": "Pulling image", "eventTime": START}],
            "pod pod is on its node and does not start: Pulling: Pulling image (since",
            id="of events.k8s.io",
        ),
    ],
)
def test_a_pod_that_its_node_does_not_start(
    around: Around, objects: Any, events: list[Manifest], said: str
) -> None:
    scheduled = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": START}]
    seen = around.put(objects.make("Pod", "pod", status={"phase": "Pending", "conditions": scheduled}))
    around.events[seen.uid] = events
    around.look(after=60)
    assert around.said_of(seen).startswith(said)
    assert len(around.said_of(seen)) < 1500


@pytest.mark.parametrize(
    ("events", "said"),
    [
        pytest.param([], "", id="none"),
        pytest.param(
            [event("WaitForFirstConsumer", "waiting for first consumer to be created before binding")],
            "",
            id="it waits for its pod",
        ),
        pytest.param(
            [event("ProvisioningFailed", 'storageclass.storage.k8s.io "fast" not found')],
            "claim claim has no volume: ProvisioningFailed: storageclass.storage.k8s.io "
            '"fast" not found (since 2026-01-01T00:00:00Z). Correct',
            id="no class",
        ),
    ],
)
def test_a_claim_without_a_volume(around: Around, objects: Any, events: list[Manifest], said: str) -> None:
    claim = objects.make("PersistentVolumeClaim", "claim", status={"phase": "Pending"})
    claim["metadata"]["creationTimestamp"] = START
    seen = around.put(claim)
    around.events[seen.uid] = events
    around.look(after=30)
    assert around.said_of(seen).startswith(said)
    assert bool(around.said_of(seen)) is bool(said)


@pytest.mark.parametrize(
    "refusal", [ApiException(status=403, reason="Forbidden"), TimeoutError(), ConnectionResetError()]
)
def test_without_the_right_to_read_events_it_is_late_all_the_same(
    around: Around, objects: Any, refusal: Exception
) -> None:
    around.refusal = refusal
    seen = around.put(job(objects))
    around.look(after=60)
    assert around.said_of(seen).startswith("no pod of Job faq-train-0 has been made")


def test_a_storm_is_asked_about_bit_by_bit(around: Around, objects: Any) -> None:
    for number in range(60):
        around.put(
            job(objects) | {"metadata": job(objects)["metadata"] | {"name": str(number), "uid": str(number)}}
        )
    asked = []
    for seconds in (20, 25, 30, 35):
        around.look(after=seconds)
        asked.append(len(set(around.asked)))
    assert asked == [25, 50, 60, 60]


def test_a_pod_that_should_have_ended(around: Around, objects: Any) -> None:
    pod = objects.make("Pod", "pod", status={"phase": "Running"})
    pod["metadata"]["deletionTimestamp"] = START
    seen = around.put(pod)
    around.events[seen.uid] = [event("NodeNotReady", "Node is not ready")]
    around.look(after=60)
    assert around.said_of(seen).startswith(
        "pod pod should have ended and has not: NodeNotReady: Node is not ready (since 2026-01-01T00:00:00Z)"
    )
