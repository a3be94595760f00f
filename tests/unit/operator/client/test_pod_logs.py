"""A cluster's logs, read on from a moment: no line twice, none left out."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kubernetes import client

from finetune_operator.client.pod_logs import container_logs
from finetune_operator.local.errors import LocalError

FIRST, SAME_SECOND, LATER = (
    f"2026-11-28T10:00:{second}Z" for second in ("01.100000000", "01.200000000", "02.000000000")
)


@dataclass
class Answers:
    """Stands for the client of an API server that answers each log in turn."""

    answers: list[tuple[int, str]]
    queries: list[dict[str, Any]] = field(default_factory=list)

    def param_serialize(self, method: str, path: str, **options: Any) -> tuple[str, str]:
        self.queries.append(dict(options["query_params"]) | {"path": path})
        return method, path

    def call_api(self, *_: str, **__: Any) -> Any:
        status, text = self.answers.pop(0)
        return SimpleNamespace(status=status, reason="So", read=text.encode)


def pod(name: str, stage: str, *, started: bool = True, created: int = 0) -> client.V1Pod:
    state = client.V1ContainerState(**({"running": client.V1ContainerStateRunning()} if started else {}))
    status = client.V1ContainerStatus(
        name="main", state=state, image="", image_id="", ready=started, restart_count=0
    )
    labels = {"app.kubernetes.io/component": stage}
    metadata = client.V1ObjectMeta(name=name, namespace="ml", labels=labels, creation_timestamp=created)
    return client.V1Pod(metadata=metadata, status=client.V1PodStatus(container_statuses=[status]))


def logs(answers: Answers, pods: list[client.V1Pod], kind: str = "FineTuneJob") -> list[Any]:
    return list(container_logs(cast(client.ApiClient, answers), pods, kind))


def test_those_of_a_job_oldest_first_without_those_that_have_not_started() -> None:
    pods = [
        pod("faq-train", "train", created=2),
        pod("faq-merge", "merge", started=False, created=3),
        pod("faq-prepare", "prepare", created=1),
        pod("faq-server", "serve", created=4),
    ]
    assert [log.pod for log in logs(Answers([]), pods)] == ["faq-prepare", "faq-train"]
    assert [log.pod for log in logs(Answers([]), pods, "ModelDeployment")] == ["faq-server"]


def test_what_is_read_on_begins_where_the_last_reading_ended() -> None:
    answers = Answers([(200, f"{FIRST} one\n"), (200, f"{FIRST} one\n{SAME_SECOND} \n{LATER} two words\n")])
    (log,) = logs(answers, [pod("faq-train", "train")])
    assert log.read("", 10) == (["one"], FIRST)
    assert log.read(FIRST, None) == (["", "two words"], LATER)
    path = "/api/v1/namespaces/ml/pods/faq-train/log"
    asked = {"container": "main", "timestamps": "true", "path": path}
    assert answers.queries == [{**asked, "tailLines": 10}, {**asked, "sinceTime": FIRST}]


@pytest.mark.parametrize("status", [pytest.param(400, id="being made"), pytest.param(404, id="gone")])
def test_a_container_without_a_log_says_nothing(status: int) -> None:
    (log,) = logs(Answers([(status, "")]), [pod("faq-train", "train")])
    assert log.read(FIRST, None) == ([], FIRST)


@pytest.mark.parametrize("status", [pytest.param(403, id="no right"), pytest.param(502, id="no node")])
def test_a_log_that_cannot_be_had_is_said(status: int) -> None:
    (log,) = logs(Answers([(status, "")]), [pod("faq-train", "train")])
    with pytest.raises(LocalError, match=f"the log of pod faq-train cannot be read: {status} So"):
        log.read("", None)
