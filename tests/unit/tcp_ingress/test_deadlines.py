"""One timer that ends what has no outcome by its deadline."""

import asyncio

import pytest

from shared.runtime.unavailable import Unavailable
from tcp_ingress.deadlines import Deadlines


def outcome() -> "asyncio.Future[None]":
    return asyncio.get_running_loop().create_future()


async def test_e6_each_ends_at_its_own_deadline_in_whichever_order_they_came() -> None:
    deadlines, now = Deadlines("too late"), asyncio.get_running_loop().time()
    late, soon, later = outcome(), outcome(), outcome()
    deadlines.watch(late, now + 0.3)
    deadlines.watch(soon, now + 0.1)
    deadlines.watch(later, now + 60)
    with pytest.raises(Unavailable, match="too late"):
        await soon
    assert asyncio.get_running_loop().time() >= now + 0.1
    assert not late.done()
    with pytest.raises(Unavailable, match="too late"):
        await late
    assert asyncio.get_running_loop().time() >= now + 0.3
    assert not later.done()
    later.cancel()


async def test_what_has_its_outcome_is_left_alone_and_forgotten() -> None:
    deadlines, now = Deadlines("too late"), asyncio.get_running_loop().time()
    for _ in range(100):
        done = outcome()
        deadlines.watch(done, now + 0.05)
        done.set_result(None)
    last = outcome()
    deadlines.watch(last, now + 0.06)
    assert len(deadlines._watched) == 1
    with pytest.raises(Unavailable):
        await last


async def test_a_deadline_that_has_passed_ends_it_with_the_next_turns_of_the_loop() -> None:
    deadlines, past = Deadlines("too late"), outcome()
    deadlines.watch(past, asyncio.get_running_loop().time() - 1)
    assert not past.done()
    with pytest.raises(Unavailable):
        await past
    again = outcome()
    deadlines.watch(again, asyncio.get_running_loop().time() + 0.01)
    with pytest.raises(Unavailable):
        await again
