"""The queue gives every object out once however often it is woken, and never twice at a time."""

import asyncio

import pytest
from simulated_time import run

from finetune_operator.core.objects import Ref
from finetune_operator.kube.work_queue import WorkQueue

FAQ = Ref(api_version="finetune.dev/v1alpha1", kind="FineTuneJob", namespace="ml", name="faq")


async def given_out(queue: WorkQueue, seconds: float) -> int:
    """How often an object is given out within a time, done at once each time."""
    count = 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                queue.done(await queue.take())
                count += 1
    except TimeoutError:
        return count


def test_a_burst_is_one() -> None:
    async def burst() -> int:
        queue = WorkQueue()
        for _ in range(100):
            queue.wake(FAQ)
        return await given_out(queue, 0.3)

    assert run(burst()) == 1


def test_what_is_woken_while_it_is_worked_on_comes_again_and_not_meanwhile() -> None:
    async def woken_meanwhile() -> tuple[int, int]:
        queue = WorkQueue()
        queue.wake(FAQ, 0)
        ref = await queue.take()
        queue.wake(FAQ, 0)
        during = await given_out(queue, 0.1)
        queue.done(ref)
        return during, await given_out(queue, 0.1)

    assert run(woken_meanwhile()) == (0, 1)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(60.0, 0.0, id="a sooner time wins"),
        pytest.param(0.0, 60.0, id="a later one does not delay"),
    ],
)
def test_the_sooner_of_two_times_counts(first: float, second: float) -> None:
    async def twice() -> int:
        queue = WorkQueue()
        queue.wake(FAQ, first)
        queue.wake(FAQ, second)
        return await given_out(queue, 0.1)

    assert run(twice()) == 1


def test_the_wait_after_failures_doubles_until_one_succeeds() -> None:
    async def waits() -> list[float]:
        queue, loop, found = WorkQueue(), asyncio.get_running_loop(), []
        for succeeds in (False, False, False, True):
            queue.retry(FAQ)
            timer = queue._timers.pop(FAQ)
            found.append(timer.when() - loop.time())
            timer.cancel()
            if succeeds:
                queue.succeeded(FAQ)
        queue.retry(FAQ)
        return [*found, queue._timers[FAQ].when() - loop.time()]

    assert run(waits()) == [0.5, 1.0, 2.0, 4.0, 0.5]


def test_a_server_that_is_away_is_asked_again_within_seconds_of_its_return() -> None:
    async def waits() -> list[float]:
        queue, loop, found = WorkQueue(), asyncio.get_running_loop(), []
        for _ in range(5):
            queue.retry(FAQ, 2.0)
            timer = queue._timers.pop(FAQ)
            found.append(timer.when() - loop.time())
            timer.cancel()
        queue.retry(FAQ)
        return [*found, queue._timers[FAQ].when() - loop.time()]

    assert run(waits()) == [0.5, 1.0, 2.0, 2.0, 2.0, 2.0]
