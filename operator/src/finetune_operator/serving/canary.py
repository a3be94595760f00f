"""A new version beside the one that serves: its share of the requests, its next step, why it is given up.

What was reached is the memory of the Deployment (serving/trial.py); everything else is seen anew: whether the
canary is ready, what its servers count, whether the Gateways have taken the share that it is given.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from finetune_operator.api.canary import CanarySpec
from finetune_operator.api.deployment import ModelDeployment
from finetune_operator.core.conditions import timestamp
from finetune_operator.core.objects import Manifest, without_empty
from finetune_operator.core.observed.deployment import ObservedDeployment
from finetune_operator.core.observed.http_route import ObservedRoute
from finetune_operator.serving.children.names import CANARY, server_name
from finetune_operator.serving.observed import Observed
from finetune_operator.serving.rollout import Rollout
from finetune_operator.serving.server_requests import ServerRequests
from finetune_operator.serving.step import Trying
from finetune_operator.serving.trial import Trial

# A server that crashed that often without ever being ready is not going to be.
_CRASHES = 3
_SHARE_OF_FIRST_TOKENS = 0.95
ALL = 100


@dataclass(frozen=True, kw_only=True)
class Canary:
    """A version that is tried, as it was seen."""

    spec: CanarySpec
    rollout: Rollout
    trial: Trial
    name: str
    """Of its Service."""
    seen: ObservedDeployment | None
    """Its Deployment; None before it has one of this version."""
    stable: ObservedDeployment | None
    """The Deployment of the version before."""
    stable_replicas: int
    route: ObservedRoute | None
    requests: ServerRequests | None
    """Of all its servers; None where nobody knows."""

    @property
    def weight(self) -> int:
        """Of a hundred requests those that it is to have: none while none of its servers is ready."""
        if not (self.seen and self.seen.up_to_date and self.seen.updated and self.seen.ready):
            return 0
        if self.rollout.rolled_back and self.stable and self.stable.ready:
            return 0
        if self.trial.step <= len(self.spec.weights):
            return sorted(self.spec.weights)[self.trial.step - 1]
        # Meanwhile the servers of the version before are replaced: all are, where it can answer for them.
        return ALL if self.spec.replicas >= self.stable_replicas else max(self.spec.weights)

    @property
    def failure(self) -> str:
        """Why it is to be given up; empty where nothing speaks against it."""
        return next(self._failures(), "")

    @property
    def ends_at(self) -> datetime | None:
        """When its step may end: it counts from when it was ready and had its share."""
        since, taken = self._ready_since, self.route.accepted_since if self.route else None
        if since is None or taken is None or self.trial.step > len(self.spec.weights):
            return None
        return max(self.trial.began_at, since, taken) + timedelta(seconds=self.spec.interval_seconds)

    def awaits(self, now: datetime) -> str:
        """Return what its step waits for; empty where it may end."""
        return next(self._awaited(now), "")

    def _failures(self) -> Iterator[str]:
        seen = self.seen
        why = seen.waiting.sentence if seen and seen.waiting else "see the pod's log"
        if seen and seen.overdue_since not in (None, self.trial.overdue_before):
            yield f"it was not ready in time; {why}"
        if seen and seen.termination and seen.restarts >= _CRASHES and seen.ready < self.spec.replicas:
            yield f"it ends with exit code {seen.termination.exit_code}: {seen.termination.sentence}"
        if self.requests and self.requests.count >= self.spec.analysis.min_requests:
            yield from self._failed_checks(self.requests)

    def _failed_checks(self, requests: ServerRequests) -> Iterator[str]:
        most, errors = self.spec.analysis.max_error_percent, requests.error_percent
        if most is not None and errors > most:
            yield f"{errors:.3g} % of its requests failed, and maxErrorPercent is {most:g}"
        slowest, first = self.spec.analysis.max_time_to_first_token_seconds, first_token_seconds(requests)
        if slowest is not None and first is not None and first > slowest:
            yield (
                f"95 of 100 requests had their first token within {first:.3g} s, and "
                f"maxTimeToFirstTokenSeconds is {slowest:g}"
            )

    @property
    def _ready_since(self) -> datetime | None:
        seen = self.seen
        if seen is None or not seen.up_to_date or min(seen.updated, seen.ready) < self.spec.replicas:
            return None
        return seen.available_since

    def _awaited(self, now: datetime) -> Iterator[str]:
        if self._ready_since is None:
            ready = self.seen.ready if self.seen else 0
            why = f"; {self.seen.waiting.sentence}" if self.seen and self.seen.waiting else ""
            yield f"{ready} of its {self.spec.replicas} replicas generate{why}"
        if self.route and self.route.refused:
            yield f"a Gateway refuses the HTTPRoute: {self.route.refused}"
        if not (self.route and self.route.accepted and self.route.weights.get(self.name, 0) == self.weight):
            yield "no Gateway has taken its share yet"
        if self.trial.step > len(self.spec.weights):
            return
        yield from self._uncounted()
        if self.ends_at is None or now < self.ends_at:
            yield f"this step lasts until {timestamp(self.ends_at)}" if self.ends_at else "it waits"

    def _uncounted(self) -> Iterator[str]:
        analysis = self.spec.analysis
        is_asked = analysis.min_requests or any(
            most is not None
            for most in (analysis.max_error_percent, analysis.max_time_to_first_token_seconds)
        )
        if is_asked and self.requests is None:
            yield "its servers do not tell what they count (GET /metrics)"
        if self.requests and self.requests.count < analysis.min_requests:
            yield f"it has answered {self.requests.count} of {analysis.min_requests} requests"


def canary_of(rollout: Rollout | None, deployment: ModelDeployment, observed: Observed) -> Canary | None:
    """Return the version that is tried; None where none is."""
    spec = deployment.spec.rollout.canary
    if spec is None or rollout is None or rollout.trial is None:
        return None
    seen = observed.canary if observed.canary and observed.canary.rollout == rollout.attempt else None
    return Canary(
        spec=spec,
        rollout=rollout,
        trial=rollout.trial,
        name=server_name(deployment, CANARY),
        seen=seen,
        stable=observed.deployment,
        stable_replicas=deployment.spec.replicas,
        route=observed.route,
        requests=ServerRequests.of(observed.requests.values()) if seen and observed.requests else None,
    )


def next_trial(rollout: Rollout, deployment: ModelDeployment, observed: Observed, now: datetime) -> Rollout:
    """Return the rollout with its canary one step further, given up, or done with, where that is due."""
    canary = canary_of(rollout, deployment, observed)
    if canary is None or rollout.rolled_back:
        return rollout
    trial, began = canary.trial, timestamp(now)
    if trial.replaces:
        return replace(rollout, trial=None) if _is_replaced(canary) else rollout
    if canary.failure:
        return replace(rollout, rolled_back=True, trial=replace(trial, failed=canary.failure))
    if canary.awaits(now):
        return rollout
    if trial.step > len(canary.spec.weights):
        return replace(rollout, trial=replace(trial, replaces=True, since=began))
    return replace(rollout, trial=replace(trial, step=trial.step + 1, since=began))


def _is_replaced(canary: Canary) -> bool:
    """Return whether every server is one of the new version."""
    stable, replicas = canary.stable, canary.stable_replicas
    return bool(stable and stable.up_to_date and min(stable.updated, stable.ready) >= replicas)


def first_token_seconds(requests: ServerRequests) -> float | None:
    """Return the seconds within which nearly all requests had their first token."""
    return requests.first_token_within(_SHARE_OF_FIRST_TOKENS)


def standing_of(canary: Canary, now: datetime) -> str:
    """Return what a canary is doing, for people."""
    if canary.rollout.rolled_back:
        return canary.trial.failed or "in the place of the version before it was not ready in time"
    if canary.trial.replaces:
        return "it takes the place of the version before"
    step, steps = canary.trial.step, len(canary.spec.weights)
    where = f"step {step} of {steps}" if step <= steps else "its last step has passed"
    return f"{where}: {canary.awaits(now) or 'it goes on'}"


def trying_of(canary: Canary | None, now: datetime) -> Trying | None:
    """Return the step of a deployment whose new version is tried; None where none is, or it was given up."""
    if canary is None or canary.rollout.rolled_back or canary.rollout.fallback is None:
        return None
    return Trying(
        path=canary.rollout.newest.model,
        before=canary.rollout.fallback.model,
        weight=canary.weight,
        why=standing_of(canary, now),
    )


def seconds_left(canary: Canary | None, now: datetime) -> float | None:
    """Return the seconds until time alone may end its step; None where only an observation can."""
    if canary is None or canary.rollout.rolled_back or canary.ends_at is None:
        return None
    return max(1.0, (canary.ends_at - now).total_seconds()) if now < canary.ends_at else None


def canary_status(canary: Canary | None, now: datetime) -> Manifest | None:
    """Return what the status says of it."""
    if canary is None:
        return None
    requests = canary.requests
    first = first_token_seconds(requests) if requests else None
    return without_empty(
        {
            "modelPath": canary.rollout.newest.model,
            "step": canary.trial.step,
            "steps": len(canary.spec.weights),
            "weight": canary.weight,
            "requests": requests.count if requests else None,
            "errorPercent": round(requests.error_percent, 3) if requests else None,
            "timeToFirstTokenSeconds": round(first, 3) if first is not None and first < 1e9 else None,
            "message": standing_of(canary, now),
        }
    )
