"""Signs in again and again, and follows each sign-in until it is stored.

1. Each sign-in has a connection of its own: the front door is a part of what is measured.
2. One that waits for its storing holds up no later one: there are at most as many at once as the times allow.
3. A token lives on from one connection to the next. What ends it shows as an outcome, and the next time begins with a
   C_AUTH.
"""

import asyncio
import logging

from shared.runtime.clock import Clock
from shared.runtime.lifecycle import cancel_and_wait
from shared.runtime.tasks import spawn
from synthetic_terminal.front_door import Failed, connected
from synthetic_terminal.metrics import NOT_STORED, SUCCESS, UNANSWERED, SyntheticTerminalMetrics
from synthetic_terminal.requests import auth_frame, event_id, sign_in_frame
from synthetic_terminal.settings import SyntheticTerminalSettings
from synthetic_terminal.storage import Storage
from terminal_simulator.errands import REFUSED_TOKEN
from terminal_simulator.habits import Account
from terminal_simulator.line import Address

log = logging.getLogger(__name__)


class Probe:
    """One synthetic terminal."""

    def __init__(
        self,
        settings: SyntheticTerminalSettings,
        address: Address,
        storage: Storage,
        clock: Clock,
        metrics: SyntheticTerminalMetrics,
    ) -> None:
        self._settings = settings
        self._account = Account(
            settings.access_id, settings.access_key.get_secret_value(), settings.access_secret.get_secret_value()
        )
        self._address = address
        self._storage = storage
        self._clock = clock
        self._metrics = metrics
        self._token = ""
        self._following: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Signs in at every interval until it is cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        try:
            while True:
                await self.sign_in()
                due = max(due + self._settings.interval_seconds, loop.time())
                await asyncio.sleep(due - loop.time())
        finally:
            await cancel_and_wait(*self._following)

    async def sign_in(self) -> None:
        """Signs in once; whether it is stored is found out in the background."""
        record_time_ms = self._clock.now_ms()
        try:
            sent_at = await self._signed_in(record_time_ms)
        except Failed as failure:
            if failure.outcome in REFUSED_TOKEN:
                self._token = ""
            self._ended(failure.outcome, str(failure))
            return
        following = spawn(self._follow(event_id(self._settings.sn, record_time_ms), sent_at), "follow-sign-in")
        self._following.add(following)
        following.add_done_callback(self._following.discard)

    async def _signed_in(self, record_time_ms: int) -> float:
        """When the frame of the sign-in was sent, on the loop's clock. Raises Failed."""
        settings, loop = self._settings, asyncio.get_running_loop()
        async with connected(self._address, settings.answer_timeout_seconds) as connection:
            if not self._token:
                answer = await connection.ask(auth_frame(settings.sn, self._account, self._clock.now_ms()))
                self._token = str((answer.response or {}).get("token", ""))
                if not self._token:
                    raise Failed(UNANSWERED, "success to C_AUTH without a token")
            frame = sign_in_frame(settings.sn, self._account, self._token, record_time_ms, self._clock.now_ms())
            sent_at = loop.time()
            await connection.ask(frame)
            self._metrics.answer_seconds.record(loop.time() - sent_at)
        return sent_at

    async def _follow(self, event: str, sent_at: float) -> None:
        if not await self._storage.appears(event, sent_at + self._settings.stored_timeout_seconds):
            self._ended(NOT_STORED, f"{event} is not stored within {self._settings.stored_timeout_seconds:g} s")
            return
        seconds = asyncio.get_running_loop().time() - sent_at
        self._metrics.stored_seconds.record(seconds)
        self._metrics.last_success_seconds = self._clock.now_ms() / 1000
        self._ended(SUCCESS, f"{event} was stored after {seconds:.3f} s")

    def _ended(self, outcome: str, detail: str) -> None:
        self._metrics.outcomes[outcome] += 1
        log.log(logging.INFO if outcome == SUCCESS else logging.WARNING, "%s: %s", outcome, detail)
