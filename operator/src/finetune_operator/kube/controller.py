"""One reconcile of one parent: observe, decide, apply, write the status once, then say what changed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from kubernetes.aio.client.exceptions import ApiException
from pydantic import ValidationError

from finetune_operator.api.field_errors import field_errors
from finetune_operator.core.config import Config
from finetune_operator.core.labels import RUN
from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.observed.kinds import observe
from finetune_operator.core.observed.object import ObservedObject
from finetune_operator.core.observed.parent import ObservedParent
from finetune_operator.core.plan import Plan
from finetune_operator.core.refusal import Refusal, RefusalReason, is_said, with_refusal
from finetune_operator.kinds import KINDS, Surroundings
from finetune_operator.kube.api_server import ApiServer, is_namespace_ending, message_of
from finetune_operator.kube.events import build_event, fields_dropped
from finetune_operator.kube.rewrites import Rewrites, rewritten
from finetune_operator.kube.wake import parents_of

_LOG = logging.getLogger(__name__)
# A quota or an admission rule may be changed without any event that we could watch.
_REFUSED_AGAIN_SECONDS = 30.0
# The controllers of children say what they made of them, which wakes the parent; if not, it looks again.
_JOB_STARTS_SECONDS = 5.0
_SETTLING_SECONDS = 1.0
_CONFLICT = 409
_REFUSED = (400, 403, 422)

T = TypeVar("T")


class Controller:
    """Brings parents to where their specs want them."""

    def __init__(
        self,
        surroundings: Surroundings,
        server: ApiServer,
        config: Config,
        wake: Callable[[Ref], None],
    ) -> None:
        self._surroundings = surroundings
        self._cache = surroundings.objects
        self._server = server
        self._config = config
        self._wake = wake
        self._rewrites = Rewrites(cache=surroundings.objects)

    async def reconcile(self, ref: Ref) -> float | None:
        """Reconcile a parent; return the seconds after which it must be done again, if it must.

        Raises ApiException for what another try may bring about.
        """
        parent = self._cache.get(ref, ObservedParent)
        if parent is None or parent.deleting:
            return None
        try:
            return await self._reconcile(ref, parent)
        except ApiException as refused:
            if is_namespace_ending(refused):
                return None  # it takes the parent with it
            raise

    async def _reconcile(self, ref: Ref, parent: ObservedParent) -> float | None:
        now = datetime.now(UTC)
        try:
            plan = KINDS[ref.kind].reconcile(parent, self._surroundings, now, self._config)
        except ValidationError:
            problems = field_errors(KINDS[ref.kind].resource.model, parent.manifest)
            refusal = Refusal(reason=RefusalReason.SPEC_INVALID, message=". ".join(map(str, problems)))
            await self._refuse(parent, Plan(status=parent.status), refusal, now)
            return None
        pauses = {Ref.of(child): self._rewrites.pause_of(child, now) for child in plan.apply}
        let_be = [pause.total_seconds() for pause in pauses.values() if pause]
        plan = replace(plan, apply=tuple(child for child in plan.apply if not pauses[Ref.of(child)]))
        if refused := await self._apply(parent, plan):
            await self._refuse(parent, plan, refused, now)
            return _REFUSED_AGAIN_SECONDS
        await self._delete(plan)
        if any(child["kind"] == "Job" for child in plan.apply):
            # It starts in a moment, and the status says both at once: of all that we ask of the API server,
            # to write a status costs it most.
            return _JOB_STARTS_SECONDS
        await self._write_status(parent, plan.status)
        await _all(self._server.create_event(build_event(parent, e, now)) for e in plan.events)
        again = _SETTLING_SECONDS if plan.apply else plan.requeue_after
        return min((*let_be, *([] if again is None else [again])), default=None)

    async def _apply(self, parent: ObservedParent, plan: Plan) -> Refusal | None:
        """Apply the children side by side; return a refusal that only a person can end.

        Jobs last: what their pods mount is there by then.
        """
        jobs = [child for child in plan.apply if child["kind"] == "Job"]
        for children in ([child for child in plan.apply if child not in jobs], jobs):
            refusals = await _all(self._apply_child(parent, child) for child in children)
            if refusal := next(filter(None, refusals), None):
                return refusal
        return None

    async def _apply_child(self, parent: ObservedParent, child: Manifest) -> Refusal | None:
        now = datetime.now(UTC)
        if self._rewrites.applies(child, now) and (live := await self._server.get(Ref.of(child))):
            await self._server.create_event(build_event(parent, rewritten(child, live), now))
        is_new = self._cache.get(Ref.of(child), ObservedObject) is None
        try:
            applied = await self._applied(parent, child)
        except ApiException as refused:
            if refused.status not in _REFUSED or is_namespace_ending(refused):
                raise
            return Refusal(reason=RefusalReason.CHILD_REFUSED, message=_refused(child, refused))
        if applied is None:
            return Refusal(reason=RefusalReason.CHILD_REFUSED, message=_somebody_elses(child))
        self._take(observe(applied), but=parent.ref)
        if is_new and (event := fields_dropped(child, applied)):
            await self._server.create_event(build_event(parent, event, now))
        return None

    async def _applied(self, parent: ObservedParent, child: Manifest) -> Manifest | None:
        """Return a child that is there by now, or None for one that is somebody else's.

        Apply would take over any other object, so that it is looked at before. To create is one request, and
        fails when any other is there; it is for what no later version of a spec, or of us, takes fields from.
        """
        ref = Ref.of(child)
        there = self._cache.get(ref, ObservedObject)
        if there is None and _is_made_once(child) and (created := await self._server.create(child)):
            return created
        if there is None and (unknown := await self._server.get(ref)):
            there = observe(unknown)
        if there is not None and not _is_owned_by(parent, there):
            return None
        return await self._server.apply(child)

    def _take(self, answer: ObservedObject, *, but: Ref | None) -> None:
        """Take what the API server made of a request: the watch that brings it back has no news then."""
        self._cache.put(answer)
        for ref in parents_of(self._cache, answer):
            if ref != but:
                self._wake(ref)

    async def _delete(self, plan: Plan) -> None:
        for ref in plan.delete:
            if known := self._cache.get(ref, ObservedObject):
                await self._server.delete(ref, known.uid)

    async def _write_status(self, parent: ObservedParent, status: Manifest) -> None:
        if status == parent.status:
            return
        try:
            written = await self._server.apply_status(parent.ref, parent.uid, status)
        except ApiException as refused:
            if refused.status not in (404, _CONFLICT) or await self._is_there(parent):
                raise
            self._cache.drop(parent)  # it is gone, or another one of its name: that one has its own event
            return
        # What it said of itself it knows, but not a spec that was changed meanwhile.
        is_known = written["metadata"]["generation"] == parent.generation
        self._take(observe(written), but=parent.ref if is_known else None)

    async def _is_there(self, parent: ObservedParent) -> bool:
        there = await self._server.get(parent.ref)
        return there is not None and there["metadata"]["uid"] == parent.uid

    async def _refuse(self, parent: ObservedParent, plan: Plan, refusal: Refusal, now: datetime) -> None:
        said = is_said(parent, refusal)
        await self._write_status(parent, with_refusal(plan.status, refusal, parent, now))
        if not said:
            _LOG.warning("%s: %s", _name(parent), refusal.message)
            await self._server.create_event(build_event(parent, refusal.event, now))


async def _all(requests: Iterable[Awaitable[T]]) -> list[T]:
    """Return all answers; raise the first failure, when none is under way any more."""
    answers = await asyncio.gather(*requests, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if not isinstance(answer, BaseException)]


def _is_made_once(child: Manifest) -> bool:
    return RUN in child["metadata"]["labels"]  # another run has others


def _is_owned_by(parent: ObservedParent, obj: ObservedObject) -> bool:
    return any(owner.uid == parent.uid for owner in obj.owners)


def _name(obj: ObservedObject) -> str:
    return f"{obj.ref.kind} {obj.ref.namespace}/{obj.ref.name}"


def _named(child: Manifest) -> str:
    return f"{child['kind']} {child['metadata']['name']}"


def _somebody_elses(child: Manifest) -> str:
    return f"{_named(child)} exists and is not this object's; delete it, or give this object another name"


def _refused(child: Manifest, refused: ApiException) -> str:
    return f"The API refuses {_named(child)}: {message_of(refused)}"
