"""Ends what is not known by its deadline, by one timer for all: one each is a tenth of a sign-in's CPU (measured)."""

import asyncio
import heapq

from shared.runtime.unavailable import Unavailable


class Deadlines:
    """Watches outcomes on the loop's clock."""

    def __init__(self, reason: str) -> None:
        self._reason = reason
        self._watched: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0
        """Tells apart what has the same deadline."""
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, outcome: "asyncio.Future[None]", deadline: float) -> None:
        """Gives the outcome Unavailable at its deadline, where it has none by then."""
        watched = self._watched
        while watched and watched[0][2].done():
            heapq.heappop(watched)
        self._count += 1
        heapq.heappush(watched, (deadline, self._count, outcome))
        if self._timer is None or deadline < self._timer.when():
            self._wait(deadline)

    def _wait(self, until: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(until, self._passed)

    def _passed(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        watched = self._watched
        while watched and (watched[0][2].done() or watched[0][0] <= now):
            outcome = heapq.heappop(watched)[2]
            if not outcome.done():
                outcome.set_exception(Unavailable(self._reason))
        if watched:
            self._wait(watched[0][0])
