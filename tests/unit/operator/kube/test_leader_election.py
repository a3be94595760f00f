"""One replica acts at a time, whoever is cut off, dies or comes; hours of it, on a clock that jumps."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lease_server import LeaseServer
from simulated_time import run

from finetune_operator.kube.api_server import ApiServer
from finetune_operator.kube.leader_election import LeaderElection, LeaseLostError
from finetune_operator.kube.settings import LeaderElectionSettings

SETTINGS = LeaderElectionSettings(resource_namespace="finetune-system", resource_name="finetune-operator")


class Replica:
    """A process: `acted` is when it acted, twice in each second that it leads."""

    def __init__(self, server: LeaseServer, name: str, log: list[tuple[float, str]] | None = None) -> None:
        self.name = name
        self.log = [] if log is None else log
        self.election = LeaderElection(cast(ApiServer, server.as_seen_by(name)), SETTINGS, name)
        self.task = asyncio.create_task(self.election.run(self.lead))

    async def lead(self) -> None:
        while True:
            if self.election.leads:  # as ApiServer does before each change
                self.log.append((asyncio.get_running_loop().time(), self.name))
            await asyncio.sleep(0.5)

    async def end(self) -> BaseException | None:
        """End it as SIGTERM does; return what it failed of, if it had."""
        self.task.cancel()
        (result,) = await asyncio.gather(self.task, return_exceptions=True)
        return None if isinstance(result, asyncio.CancelledError) else result

    def die(self) -> None:
        """Nothing of it runs any more, nor says goodbye."""
        self.election._mine = None
        self.task.cancel()


async def until(look: Callable[[], object]) -> float:
    """Return when it was so."""
    while not look():
        await asyncio.sleep(0.1)
    return asyncio.get_running_loop().time()


def test_who_comes_first_leads_and_who_comes_later_waits() -> None:
    async def two() -> tuple[bool, bool, int, str]:
        server = LeaseServer()
        first, second = Replica(server, "first"), Replica(server, "second")
        await asyncio.sleep(600)
        assert server.lease
        spec = server.lease["spec"]
        found = (
            first.election.leads,
            second.election.in_touch,
            spec["leaseTransitions"],
            spec["holderIdentity"],
        )
        assert second.log == []
        await first.end()
        await second.end()
        return found

    assert run(two()) == (True, True, 0, "first")


def test_an_hour_of_leading_costs_a_request_every_two_seconds() -> None:
    async def hour() -> int:
        server = LeaseServer()
        leader = Replica(server, "a")
        await asyncio.sleep(3600)
        found = server.requests // 2  # there and back
        await leader.end()
        return found

    assert 1700 < run(hour()) < 1900


@pytest.mark.parametrize(
    ("how", "least", "most"),
    [
        pytest.param("ends", 0, 4.5, id="one that ends hands over"),
        pytest.param("dies", 13, 24, id="one that dies is waited for"),
        pytest.param("is cut off", 13, 24, id="one that is cut off is waited for"),
    ],
)
def test_how_long_a_takeover_takes(how: str, least: float, most: float) -> None:
    async def takeover() -> tuple[float, int]:
        server = LeaseServer()
        old = Replica(server, "old")
        await until(lambda: old.election.leads)
        new = Replica(server, "new")
        await asyncio.sleep(60)
        began = asyncio.get_running_loop().time()
        if how == "ends":
            await old.end()
        elif how == "dies":
            old.die()
        else:
            server.cut_off.add("old")
        seconds = await until(lambda: new.log) - began
        assert server.lease
        transitions = server.lease["spec"]["leaseTransitions"]
        if how == "is cut off":
            assert isinstance(await old.end(), LeaseLostError)
            assert old.log[-1][0] - began < SETTINGS.renew_deadline_seconds
        await new.end()
        return seconds, transitions

    seconds, transitions = run(takeover())
    assert least <= seconds <= most
    assert transitions == 1


def test_a_container_that_is_started_again_leads_again_at_once() -> None:
    async def again() -> tuple[float, int]:
        server = LeaseServer()
        before = Replica(server, "pod-0")
        await asyncio.sleep(60)
        before.die()
        began = asyncio.get_running_loop().time()
        after = Replica(server, "pod-0")
        seconds = await until(lambda: after.log) - began
        await after.end()
        assert server.lease
        return seconds, server.lease["spec"]["leaseTransitions"]

    seconds, transitions = run(again())
    assert seconds < 0.3
    assert transitions == 0


def test_who_finds_another_on_its_lease_ends_at_once() -> None:
    async def usurped() -> BaseException | None:
        server = LeaseServer()
        leader = Replica(server, "a")
        await asyncio.sleep(60)
        assert server.lease
        server.write({**server.lease, "spec": {**server.lease["spec"], "holderIdentity": "b"}})
        await asyncio.sleep(2 * SETTINGS.retry_period_seconds + 1)
        return await leader.end()

    lost = run(usurped())
    assert isinstance(lost, LeaseLostError)
    assert str(lost) == "b has taken the Lease finetune-operator"


def test_a_lease_that_somebody_deletes_is_made_again() -> None:
    async def deleted() -> bool:
        server = LeaseServer()
        leader = Replica(server, "a")
        await asyncio.sleep(60)
        server.lease = None
        await asyncio.sleep(60)
        found = leader.election.leads and server.lease is not None
        await leader.end()
        return found

    assert run(deleted())


async def play(seed: int, changes: int) -> list[tuple[float, str]]:
    """Three replicas, each of which dies, ends or is cut off now and then; return who acted when."""
    draw = Random(seed)
    server, log = (
        LeaseServer(draw=draw, slowest_seconds=draw.choice([0.0, 0.1, 3.0])),
        list[tuple[float, str]](),
    )
    replicas = [Replica(server, f"r{number}", log) for number in range(3)]
    for number in range(3, 3 + changes):
        await asyncio.sleep(draw.uniform(0, 40))
        which = draw.randrange(3)
        change = draw.choice(["ends", "dies", "is cut off", "all heal"])
        if change == "is cut off":
            server.cut_off.add(replicas[which].name)
        elif change == "all heal":
            server.cut_off.clear()
        elif change == "dies":
            replicas[which].die()
        if change in ("ends", "dies") or replicas[which].task.done():
            await replicas[which].end()
            replicas[which] = Replica(server, f"r{number}", log)
    server.cut_off.clear()
    server.slowest_seconds = 0.0
    healed = asyncio.get_running_loop().time()
    fresh = Replica(server, "fresh", log)
    await until(lambda: log and log[-1][0] > healed)
    assert asyncio.get_running_loop().time() - healed < 60
    for replica in (*replicas, fresh):
        await replica.end()
    return log


def reigns(log: list[tuple[float, str]]) -> list[str]:
    """Who acted, one after the other."""
    return [name for at, (_, name) in enumerate(log) if at == 0 or log[at - 1][1] != name]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_nobody_acts_after_another_has_begun(seed: int) -> None:
    """A replica's name is never used again, so that whoever acts twice did so beside another."""
    ruled = reigns(run(play(seed, changes=40)))
    assert len(ruled) == len(set(ruled))
