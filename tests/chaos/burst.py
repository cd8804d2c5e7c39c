"""`python -m tests.chaos.burst`: sign-ins at a rate that no answer slows down, or as fast as answers come.

Its own process, so that it takes nothing from the one that watches. It prints a JSON line a second, and writes the ids
of what was acknowledged, and of what was sent, into a file at its end.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections import Counter, deque
from pathlib import Path
from typing import cast

import uvloop

from terminal_simulator.wire import FrameReader, decode_answer, encode_frame
from tests.chaos.ledger import ACKNOWLEDGED, REFUSED, UNANSWERED, Entry
from tests.support.builders import PERSON, Vendor, make_auth, make_sign_in, now_ms

SECRET_VARIABLE = "TERMINAL_SIMULATOR_ACCESS_SECRET"
TICK_SECONDS = 0.01
AUTH_SECONDS = 120.0
LAST_ANSWERS_SECONDS = 30.0
MOST_UNANSWERED = 8
"""As the simulated terminals have it: what comes beyond waits in the terminal, and is counted as held back."""


class Sender(asyncio.Protocol):
    """One terminal, which sends when it is told to, and not when it has an answer."""

    def __init__(self, sn: str, vendor: Vendor, burst: "Burst") -> None:
        self.sn = sn
        self.token = ""
        self.waiting: deque[tuple[float, int]] = deque()
        """When it was sent, and its recordTime."""
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._vendor = vendor
        self._burst = burst
        self._frames = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._record_time = now_ms()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(encode_frame(make_auth(self._vendor, self.sn)))

    def connection_lost(self, _error: Exception | None) -> None:
        self._burst.lost += 1
        if not self.ready.done():
            self.ready.set_exception(ConnectionResetError("no answer to C_AUTH"))

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        for frame in self._frames.feed(data):
            answer = decode_answer(frame)
            if not self.token:
                self.token = str((answer.response or {}).get("token", ""))
                if self.token:
                    self.ready.set_result(None)
                else:
                    self.ready.set_exception(ConnectionRefusedError(f"C_AUTH was refused: {answer.errorcode}"))
                continue
            sent_at, record_time = self.waiting.popleft()
            self._burst.answered(self.sn, record_time, answer.errorcode, now - sent_at)

    def send(self) -> None:
        """One more sign-in, unless too many are unanswered."""
        assert self._transport is not None
        if len(self.waiting) >= MOST_UNANSWERED or self._transport.is_closing():
            self._burst.held_back += 1
            return
        self._record_time += 1
        message = make_sign_in(self._vendor.access_secret, self.sn, self.token, record_time=self._record_time)
        self.waiting.append((time.monotonic(), self._record_time))
        self._burst.sent += 1
        self._transport.write(encode_frame(message))


class Burst:
    """All senders and what they count."""

    def __init__(self) -> None:
        self.sent = self.held_back = self.lost = 0
        self.outcomes: Counter[str] = Counter()
        self.seconds: list[float] = []
        self.senders: list[Sender] = []
        self._acknowledged: list[tuple[str, int]] = []
        self._refused: list[tuple[str, int]] = []

    def answered(self, sn: str, record_time: int, code: str, seconds: float) -> None:
        """What became of one sign-in."""
        self.outcomes[code or ACKNOWLEDGED] += 1
        self.seconds.append(seconds)
        (self._refused if code else self._acknowledged).append((sn, record_time))

    def report(self) -> str:
        """Counts since the start; latencies since the last report."""
        seconds, self.seconds = sorted(self.seconds), []
        told = {
            "sent": self.sent,
            "heldBack": self.held_back,
            "lost": self.lost,
            "waiting": sum(len(sender.waiting) for sender in self.senders),
            "outcomes": dict(self.outcomes),
            "medianSeconds": round(seconds[len(seconds) // 2], 3) if seconds else None,
            "longestSeconds": round(seconds[-1], 3) if seconds else None,
        }
        return json.dumps(told)

    def entries(self) -> list[Entry]:
        """The ledger."""
        unanswered = [(sender.sn, record_time) for sender in self.senders for _, record_time in sender.waiting]
        kinds = ((ACKNOWLEDGED, self._acknowledged), (REFUSED, self._refused), (UNANSWERED, unanswered))
        return [Entry(sn, PERSON, at, 1, outcome) for outcome, items in kinds for sn, at in items]


async def run(chosen: argparse.Namespace, vendor: Vendor) -> Burst:
    """Connects, sends for the time, and waits for the last answers."""
    burst = Burst()
    loop = asyncio.get_running_loop()
    for number in range(chosen.connections):
        sender = Sender(f"{chosen.sn_prefix}{number:05d}", vendor, burst)
        host, _, port = chosen.tcp[number % len(chosen.tcp)].rpartition(":")
        await loop.create_connection(lambda sender=sender: sender, host, int(port))  # type: ignore[misc]  # as asyncio's stubs have it
        burst.senders.append(sender)
    async with asyncio.timeout(AUTH_SECONDS):
        await asyncio.gather(*[sender.ready for sender in burst.senders])
    began = next_report = loop.time()
    given = 0
    while (now := loop.time()) < began + chosen.seconds:
        if chosen.rate:
            for number in range(given, int((now - began) * chosen.rate)):
                burst.senders[number % len(burst.senders)].send()
                given = number + 1
        else:
            for sender in burst.senders:
                for _ in range(chosen.outstanding - len(sender.waiting)):
                    sender.send()
        if now >= next_report:
            next_report += 1.0
            print(burst.report(), flush=True)
        await asyncio.sleep(TICK_SECONDS)
    ends = loop.time() + LAST_ANSWERS_SECONDS
    while any(sender.waiting for sender in burst.senders):
        await asyncio.sleep(TICK_SECONDS)
        if loop.time() > ends:
            break
    print(burst.report(), flush=True)
    return burst


def main() -> int:
    """The command line."""
    options = argparse.ArgumentParser(prog="python -m tests.chaos.burst", description=__doc__)
    options.add_argument("--tcp", required=True, action="append", help="each connection takes the next in turn")
    options.add_argument("--access-id", required=True)
    options.add_argument("--access-key", required=True)
    options.add_argument("--sn-prefix", required=True)
    options.add_argument("--ledger", type=Path, required=True)
    options.add_argument("--seconds", type=float, required=True)
    options.add_argument("--connections", type=int, default=500)
    options.add_argument("--rate", type=float, default=0.0, help="sign-ins a second; 0: as fast as answers come")
    options.add_argument("--outstanding", type=int, default=2, help="unanswered ones of a connection, without a rate")
    chosen = options.parse_args()
    vendor = Vendor(chosen.access_id, chosen.access_key, os.environ[SECRET_VARIABLE])
    burst = uvloop.run(run(chosen, vendor))
    with chosen.ledger.open("w", encoding="utf-8") as ledger:
        for entry in burst.entries():
            line = {"sn": entry.sn, "personId": entry.person_id, "recordTime": entry.record_time, "type": entry.type}
            ledger.write(json.dumps({**line, "outcome": entry.outcome, "wasSent": True}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
