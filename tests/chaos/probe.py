"""A terminal that asks for everything twice a second over a connection of its own: when the platform answers again is
known by it to half a second, and not by the patience that terminals have learnt in an outage."""

import asyncio
import itertools
import time
from collections import Counter, deque
from dataclasses import dataclass, replace

from terminal_simulator.face import picture
from tests.chaos.ledger import ACKNOWLEDGED, UNANSWERED, Entry, sha256
from tests.support.builders import PERSON, Vendor, make_auth, make_heartbeat, make_sign_in, now_ms
from tests.support.terminal import Terminal, connect

EVERY_SECONDS = 0.5
SNS = 40
"""A C_AUTH of one sn within the same second would be a replay (E4)."""
ANSWER_SECONDS = 8.0
KEPT = 2_000


@dataclass(frozen=True, slots=True)
class Look:
    """One probe: when it began and ended, and what went wrong; empty where nothing did."""

    began: float
    ended: float
    fault: str


class Probe:
    """`run` as a task; then `looks` and `entries` tell."""

    def __init__(self, tcp: str, vendor: Vendor, prefix: str) -> None:
        self.looks: deque[Look] = deque(maxlen=KEPT)
        self._entries: dict[int, Entry] = {}
        self.prefix = prefix
        host, _, port = tcp.rpartition(":")
        self._where = host, int(port)
        self._vendor = vendor
        self._numbers = itertools.count(1)

    @property
    def entries(self) -> list[Entry]:
        """Its ledger."""
        return list(self._entries.values())

    async def run(self) -> None:
        """Probes until it is cancelled; those under way are then waited for."""
        under_way: set[asyncio.Task[None]] = set()
        try:
            while True:
                task = asyncio.ensure_future(self._look())
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                await asyncio.sleep(EVERY_SECONDS)
        finally:
            await asyncio.gather(*under_way, return_exceptions=True)

    def faults_since(self, moment: float) -> Counter[str]:
        """What went wrong with probes that ended since then."""
        return Counter(look.fault for look in self.looks if look.ended >= moment and look.fault)

    def back_after(self, moment: float) -> float:
        """Seconds from the moment to the begin of the last probe that failed; 0 where none did."""
        failed = [look.began for look in self.looks if look.fault and look.ended >= moment]
        return max(0.0, max(failed) + EVERY_SECONDS - moment) if failed else 0.0

    def quiet_seconds(self, now: float, since: float) -> float:
        """For how long every probe has succeeded; 0 where none has ended since."""
        ended = [look for look in self.looks if look.began >= since]
        if not any(not look.fault for look in ended):
            return 0.0
        failed = [look.ended for look in self.looks if look.fault]
        return now - max([since, *failed])

    async def _look(self) -> None:
        number = next(self._numbers)
        began = time.monotonic()
        fault = ""
        try:
            async with asyncio.timeout(ANSWER_SECONDS), connect(*self._where) as terminal:
                fault = await self._ask(terminal, f"{self.prefix}{number % SNS:05d}", number)
        except TimeoutError:
            fault = "no answer"
        except OSError:
            fault = "no connection"
        self.looks.append(Look(began, time.monotonic(), fault))

    async def _ask(self, terminal: Terminal, sn: str, number: int) -> str:
        answer = await terminal.ask(make_auth(self._vendor, sn))
        if not answer.success:
            return f"C_AUTH {answer.errorcode}"
        token, secret = str((answer.response or {})["token"]), self._vendor.access_secret
        answer = await terminal.ask(make_heartbeat(secret, sn, token))
        if not answer.success:
            return f"C_HEARTBEAT {answer.errorcode}"
        image, at = picture(number), now_ms()
        entry = Entry(sn, PERSON, at, 1, UNANSWERED, picture_sha256=sha256(image))
        self._entries[number] = entry
        answer = await terminal.ask(make_sign_in(secret, sn, token, record_time=at, picture=image))
        if not answer.success:
            return f"C_SIGN_IN {answer.errorcode}"
        self._entries[number] = replace(entry, outcome=ACKNOWLEDGED)
        return ""
