"""An API server and a controller's cache of it: watches that lag and break, answers that come late."""

from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import Any

from finetune_operator.core.objects import Manifest, Ref
from finetune_operator.core.observed.cache import Cache
from finetune_operator.core.observed.kinds import observe
from finetune_operator.core.observed.object import ObservedObject

KINDS = (
    ("finetune.dev/v1alpha1", "FineTuneJob"),
    ("batch/v1", "Job"),
    ("apps/v1", "Deployment"),
    ("v1", "Service"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "Pod"),
)
_PHASES = ("Pending", "Running", "Succeeded", "Failed", "Unknown")
_REASONS = ("ImagePullBackOff", "OOMKilled", "Error", "", "ContainerCreating", "Evicted")
_TIME = "2026-01-01T00:00:00Z"


@dataclass(kw_only=True)
class SimulatedWatch:
    """`step` is one event of any kind; `settle` delivers all that is under way.

    What was deleted while a watch was broken is found by a resync alone; `breaks`: whether either happens.
    """

    draw: Random
    breaks: bool = True
    names: int = 4
    cache: Cache = field(default_factory=Cache)
    there: dict[Ref, Manifest] = field(default_factory=dict)
    _version: int = 0
    _watches: dict[str, deque[tuple[str, Manifest]]] = field(default_factory=dict)
    answers: list[Manifest] = field(default_factory=list)

    def step(self) -> None:
        """Something happens at the server, or some word of it arrives."""
        chance = self.draw.random()
        if chance < 0.40:
            name = f"faq-{self.draw.randrange(self.names)}"
            self.write(self.draw.choice(KINDS), name, answered=self.draw.random() < 0.5)
        elif chance < 0.50 and self.there:
            self.delete(self.draw.choice(sorted(self.there)))
        elif chance < 0.88:
            self.deliver(self.draw.choice(KINDS)[1])
        elif (chance < 0.97 or not self.breaks) and self.answers:
            self.answer(self.draw.randrange(len(self.answers)))
        elif chance < 0.98 and self.breaks:
            self.break_off(self.draw.choice(KINDS)[1])
        elif self.breaks:
            self.resync()

    def settle(self) -> None:
        """Everything that was said arrives."""
        while any(self._watches.values()) or self.answers:
            for _, kind in KINDS:
                self.deliver(kind)
            if self.answers:
                self.answer(len(self.answers) - 1)
        if self.breaks:
            self.resync()

    def resync(self) -> None:
        """As kube/resync.py: what is in the cache, and not in a list that was asked for after, is gone."""
        known = [obj for _, kind in KINDS for obj in self.cache.of_kind(kind, ObservedObject)]
        uids = {manifest["metadata"]["uid"] for manifest in self.there.values()}
        for obj in known:
            if obj.uid not in uids:
                self.cache.drop(obj)

    def write(self, of_kind: tuple[str, str], name: str, *, answered: bool) -> None:
        """Make or change an object; our own write, too, is answered some time."""
        api_version, kind = of_kind
        ref = Ref(api_version=api_version, kind=kind, namespace="ml", name=name)
        self._version += 1
        before = self.there.get(ref)
        uid = before["metadata"]["uid"] if before else f"uid-{self._version}"
        self.there[ref] = made = self._manifest(ref, uid)
        self._say(kind, "MODIFIED" if before else "ADDED", made)
        if answered:
            self.answers.append(made)

    def delete(self, ref: Ref) -> None:
        """Delete an object that is there."""
        gone = self.there.pop(ref)
        self._version += 1
        metadata = {**gone["metadata"], "resourceVersion": str(self._version)}
        self._say(ref.kind, "DELETED", {**gone, "metadata": metadata})

    def _say(self, kind: str, type_: str, obj: Manifest) -> None:
        self._watches.setdefault(kind, deque()).append((type_, obj))

    def deliver(self, kind: str) -> None:
        """As app.py: in the order of a kind, and in none between kinds."""
        if words := self._watches.get(kind):
            type_, manifest = words.popleft()
            if type_ == "DELETED":
                self.cache.drop(observe(manifest))
            else:
                self.cache.put(observe(manifest))

    def answer(self, place: int) -> None:
        """One of the answers under way arrives."""
        self.cache.put(observe(self.answers.pop(place)))

    def break_off(self, kind: str) -> None:
        """A watch breaks: kopf lists again, and says what is there, but not what has gone meanwhile."""
        listed = [manifest for ref, manifest in self.there.items() if ref.kind == kind]
        self._watches[kind] = deque(("ADDED", manifest) for manifest in listed)

    def _manifest(self, ref: Ref, uid: str) -> Manifest:
        labels = {
            "app.kubernetes.io/instance": f"faq-{self.draw.randrange(self.names)}",
            "app.kubernetes.io/component": self.draw.choice(("train", "serve", "prepare")),
        }
        if self.draw.random() < 0.7:
            labels |= {"finetune.dev/run": "r", "finetune.dev/attempt": self.draw.choice(("0", "1", "x", ""))}
        metadata: dict[str, Any] = {
            "name": ref.name,
            "namespace": ref.namespace,
            "uid": uid,
            "resourceVersion": str(self._version),
            "generation": 1,
            "labels": labels,
        }
        if self.draw.random() < 0.7:
            owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "o", "uid": f"uid-{self._version // 2}"}
            metadata["ownerReferences"] = [owner]
        if self.draw.random() < 0.1:
            metadata["deletionTimestamp"] = _TIME
        made = {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": metadata}
        return made | {"spec": {"replicas": 1}, "status": self._status(ref.kind)}

    def _status(self, kind: str) -> Manifest:
        phase, reason = self.draw.choice(_PHASES), self.draw.choice(_REASONS)
        conditions = [
            {"type": type_, "status": self.draw.choice(("True", "False")), "reason": reason, "message": "m"}
            | {"lastTransitionTime": _TIME}
            for type_ in self.draw.sample(
                ("Complete", "Failed", "Suspended", "PodScheduled", "Progressing", "ReplicaFailure"), 2
            )
        ]
        if kind == "Pod":
            states = ({"running": {}}, {"waiting": {"reason": reason}}, {"terminated": {"exitCode": 1}}, {})
            main = {"name": "main", "state": self.draw.choice(states), "restartCount": self.draw.randrange(3)}
            status = {"phase": phase, "conditions": conditions, "containerStatuses": [main]}
            return status | {"podIP": "10.0.0.1"} if self.draw.random() < 0.5 else status
        if self.draw.random() < 0.2:
            return {}
        counts = {"active": self.draw.randrange(3), "replicas": 1, "readyReplicas": self.draw.randrange(2)}
        return {"conditions": conditions, "phase": phase, **counts}
