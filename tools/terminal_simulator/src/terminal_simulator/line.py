"""One terminal's connection: the only file that touches a transport. Reconnects with jittered back-off; makes the
terminal's calls over HTTPS beside it."""

import asyncio
import ssl
import time
from dataclasses import dataclass
from random import Random
from typing import cast

from terminal_simulator.calls import Download
from terminal_simulator.https import HttpsAddress, HttpsClient, NoAnswer
from terminal_simulator.tally import Tally
from terminal_simulator.terminal import NEVER, Terminal
from terminal_simulator.wire import MalformedAnswer

CONNECT_SECONDS = 10.0
HANG_UP_SECONDS = 1.0
FIRST_BACK_OFF_SECONDS = 0.5
LONGEST_BACK_OFF_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where the platform listens."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None


class Line(asyncio.Protocol):
    """Carries one terminal: keeps it connected, and wakes it when something is due."""

    def __init__(
        self, terminal: Terminal, address: Address, https: HttpsAddress | None, tally: Tally, random: Random
    ) -> None:
        self._terminal = terminal
        self._address = address
        self._https = None if https is None else HttpsClient(https)
        self._tally = tally
        self._random = random
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._calls: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._was_useful = False

    async def run(self) -> None:
        """Connects again and again until it is cancelled."""
        loop = asyncio.get_running_loop()
        attempts = 0
        self._act()
        try:
            while True:
                self._lost.clear()
                self._was_useful = False
                try:
                    async with asyncio.timeout(CONNECT_SECONDS):
                        await loop.create_connection(
                            lambda: self, self._address.host, self._address.port, ssl=self._address.tls
                        )
                except TimeoutError:
                    self._tally.last_fault = f"no connection within {CONNECT_SECONDS:.0f} s"
                except OSError as error:
                    self._tally.last_fault = f"cannot connect: {error}"
                else:
                    await self._lost.wait()
                    self._tally.reconnects += 1
                    attempts = 0 if self._was_useful else attempts
                longest = min(LONGEST_BACK_OFF_SECONDS, FIRST_BACK_OFF_SECONDS * 2**attempts)
                attempts = min(attempts + 1, 10)
                await asyncio.sleep(self._random.uniform(0.5, 1.0) * longest)
        finally:
            await self._hang_up()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._terminal.connection_made(time.time())
        self._act()

    def data_received(self, data: bytes) -> None:
        self._was_useful = True
        try:
            self._terminal.receive(data, time.time())
        except MalformedAnswer as error:
            self._give_up(f"not an answer of the standard: {error}")
            return
        self._act()

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is not None:
            self._tally.last_fault = f"connection lost: {error}" if error else "the platform closed the connection"
        self._transport = None
        self._terminal.connection_lost()
        self._lost.set()
        self._act()

    async def _hang_up(self) -> None:
        if self._transport is not None:
            transport, self._transport = self._transport, None
            transport.close()
            try:
                async with asyncio.timeout(HANG_UP_SECONDS):
                    await self._lost.wait()
            except TimeoutError:
                transport.abort()  # a peer that does not read keeps its unsent bytes waiting for ever
        if self._calls is not None:
            self._calls.cancel()
        if self._https is not None:
            self._https.close()
        if self._timer is not None:
            self._timer.cancel()

    def _act(self) -> None:
        """Sends what is due and sets the timer for what comes next."""
        now = time.time()
        if self._transport is not None and self._terminal.is_stalled(now):
            self._give_up("no answer in time")
            return
        frames = self._terminal.due(now)
        if frames and self._transport is not None:
            self._transport.write(frames)
        if self._timer is not None:
            self._timer.cancel()
        wake_at = self._terminal.wake_at(now)
        if self._https is not None and self._calls is None:
            call_at = self._terminal.call_at()
            if call_at <= now:
                self._calls = asyncio.create_task(self._make_calls(self._https))
            wake_at = min(wake_at, call_at) if call_at > now else wake_at
        self._timer = (
            asyncio.get_running_loop().call_later(max(0.001, wake_at - now), self._act) if wake_at < NEVER else None
        )

    def _give_up(self, reason: str) -> None:
        self._tally.last_fault = reason
        if self._transport is not None:
            transport, self._transport = self._transport, None
            transport.abort()  # connection_lost follows

    async def _make_calls(self, https: HttpsClient) -> None:
        """Everything that is to be asked over HTTPS now, one request after the other."""
        while (call := self._terminal.next_call(time.time())) is not None:
            try:
                if isinstance(call, Download):
                    self._terminal.downloaded(await https.get(call), time.time())
                else:
                    self._terminal.call_answered(call, await https.post(call.body), time.time())
            except NoAnswer as error:
                self._tally.last_fault = str(error)
                self._terminal.call_not_answered(time.time())
            except MalformedAnswer as error:
                asked = "a download" if isinstance(call, Download) else call.apicode
                self._tally.last_fault = f"not an answer of the standard to {asked}: {error}"
        self._calls = None
        self._act()
