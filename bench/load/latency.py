"""From the requests of one load: how long each parent took to get its Jobs and its pods."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from audit import APPLIER, JOB_CONTROLLER, KUBELETS, Request
from contenders import NODES, Contender

_CREATED, _OK = 201, 200


@dataclass(kw_only=True)
class Course:
    """When what came to be of one parent; seconds of the API server's clock."""

    applied: float = math.nan
    jobs: dict[str, float] = field(default_factory=dict)
    """By stage (prepare, train): its Job was created."""
    prepared: float = math.nan
    """The preparation's Job was said to be complete: the last of its status before the training's Job."""
    running: dict[str, float] = field(default_factory=dict)
    """By training pod: its kubelet said first that it runs."""


def courses(contender: Contender, requests: Iterable[Request]) -> dict[str, Course]:
    """What became of each parent."""
    found: defaultdict[str, Course] = defaultdict(Course)
    for request in requests:
        if request.user == APPLIER and request.resource == contender.plural and request.code == _CREATED:
            found[request.name].applied = request.received
        elif request.resource == "jobs" and request.code == _CREATED:
            if job := contender.job(request.name):
                found[job[0]].jobs[job[1]] = request.answered
        elif request.user == JOB_CONTROLLER and request.resource == "jobs/status" and request.code == _OK:
            job = contender.job(request.name)
            if job and job[1] == "prepare" and "train" not in found[job[0]].jobs:
                found[job[0]].prepared = request.answered
        elif request.user == KUBELETS and request.resource == "pods/status" and request.code == _OK:
            job = contender.job(request.name.rsplit("-", 2)[0])
            if job and job[1] == "train":
                found[job[0]].running.setdefault(request.name, request.answered)
    return found


def running_pods(contender: Contender, requests: Iterable[Request]) -> int:
    return sum(len(course.running) for course in courses(contender, requests).values())


def latencies(contender: Contender, requests: Sequence[Request]) -> dict[str, Any]:
    """Percentiles in seconds over all parents, each from its own apply."""
    each = list(courses(contender, requests).values())
    assert all(len(course.running) == NODES for course in each)
    first, last = min(c.applied for c in each), max(max(c.running.values()) for c in each)
    return {
        "jobs": len(each),
        "applyToFirstJobCreated": percentiles(c.jobs["prepare"] - c.applied for c in each),
        "preparedToTrainingJobCreated": percentiles(c.jobs["train"] - c.prepared for c in each),
        "bothOfThese": percentiles(
            c.jobs["prepare"] - c.applied + c.jobs["train"] - c.prepared for c in each
        ),
        "applyToTrainingJobCreated": percentiles(c.jobs["train"] - c.applied for c in each),
        "applyToAllPodsRunning": percentiles(max(c.running.values()) - c.applied for c in each),
        "firstApplyToLastPodRunning": round(last - first, 2),
    }


def percentiles(values: Iterable[float]) -> dict[str, float]:
    """By the nearest rank."""
    ordered = sorted(values)
    ranks = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[math.ceil(rank * len(ordered)) - 1], 3) for name, rank in ranks.items()}


def is_of_work(contender: Contender, request: Request) -> bool:
    """Whether the controllers asked it for their objects; a leader's Lease is renewed whatever happens."""
    return request.user in contender.users and request.resource != "leases"


def request_counts(contender: Contender, requests: Iterable[Request], jobs: int) -> dict[str, Any]:
    """Requests of the controllers a job, and what they are."""
    own = Counter(f"{r.verb} {r.resource}" for r in requests if is_of_work(contender, r))
    return {
        "perJob": round(own.total() / jobs, 2),
        "each": {what: round(count / jobs, 2) for what, count in own.most_common() if count >= 0.01 * jobs},
    }
