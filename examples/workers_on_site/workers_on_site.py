"""Counts the workers who are on site now, from `attendance.sign-in.v1`: one JSON line every few seconds.

It knows what stands in contracts/ and docs/data-dictionary.md, and imports nothing of the platform: take it as a
beginning of your own. It needs aiokafka, which the platform's .venv has.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

TOPIC = "attendance.sign-in.v1"
START_SECONDS = 15
STACK_JSON = Path(__file__).parents[2] / ".run" / "stack.json"


class WorkersOnSite:
    """What the passages of the last hours say. A worker is where the passage with the latest recordTime led in."""

    def __init__(self, window_ms: int) -> None:
        self._window_ms = window_ms
        self._passages: dict[str, tuple[int, str | None]] = {}
        """ce_id to recordTime and direction: what was counted already."""
        self._last: dict[str, tuple[int, str | None, str | None]] = {}
        """personId to recordTime, direction and siteId of the last passage."""
        self.duplicates = 0

    def take(self, ce_id: str, event: dict[str, Any], now_ms: int) -> None:
        """Takes one record into account; a ce_id only once, and nothing that happened before the window."""
        record_time, direction = event["recordTime"], event["direction"]
        if record_time < now_ms - self._window_ms:
            return  # uploaded late: so its ce_id need not be remembered for longer than the window either
        if ce_id in self._passages:
            self.duplicates += 1
            return
        self._passages[ce_id] = record_time, direction
        # By recordTime, not by the order of arrival: terminals upload hours later what they recorded offline.
        if record_time > self._last.get(event["personId"], (0,))[0]:
            self._last[event["personId"]] = record_time, direction, event["siteId"]

    def report(self, now_ms: int) -> dict[str, Any]:
        """The counts of this moment; what has left the window is forgotten."""
        begin = now_ms - self._window_ms
        self._passages = {key: kept for key, kept in self._passages.items() if kept[0] >= begin}
        self._last = {key: kept for key, kept in self._last.items() if kept[0] >= begin}
        sites = Counter(site or "no site" for _, direction, site in self._last.values() if direction == "in")
        return {
            "onSite": sites.total(),
            "bySite": dict(sorted(sites.items())),
            # both: a turnstile for both ways; null: the operator has not said which way the terminal faces
            "notTold": sum(direction not in ("in", "out") for _, direction, _ in self._last.values()),
            "passages": dict(Counter(str(direction) for _, direction in self._passages.values())),
            "duplicates": self.duplicates,
        }


async def follow(bootstrap: str, window_ms: int, every_seconds: float, *, once: bool) -> None:
    """Reads all partitions from the window's beginning on, and prints a report now and then."""
    # Without a group it has all partitions to itself, and no offsets are kept: it begins anew from the topic.
    consumer = AIOKafkaConsumer(TOPIC, bootstrap_servers=bootstrap)
    try:
        try:
            async with asyncio.timeout(START_SECONDS):
                await consumer.start()
        except (KafkaError, TimeoutError):
            sys.exit(f"{bootstrap} does not answer, or has no topic {TOPIC}")
        await _read(consumer, WorkersOnSite(window_ms), _now_ms() - window_ms, every_seconds, once=once)
    finally:
        await consumer.stop()


async def _read(
    consumer: AIOKafkaConsumer, workers: WorkersOnSite, begin_ms: int, every_seconds: float, *, once: bool
) -> None:
    places = sorted(consumer.assignment())
    ends = await consumer.end_offsets(places)
    # A record's timestamp is the time of receipt, so no passage of the window lies before this.
    begins = await consumer.offsets_for_times(dict.fromkeys(places, begin_ms))
    for place in places:
        consumer.seek(place, begins[place].offset if begins[place] else ends[place])
    next_report = 0.0
    while True:
        batches = await consumer.getmany(timeout_ms=200)
        for record in (record for batch in batches.values() for record in batch):
            try:
                workers.take(dict(record.headers)["ce_id"].decode(), json.loads(record.value), _now_ms())
            except (KeyError, TypeError, ValueError):
                # One record that is no passage must not end the count of all others.
                sys.stderr.write(f"{record.topic}/{record.partition} offset {record.offset}: no passage, skipped\n")
        caught_up = all([await consumer.position(place) >= ends[place] for place in places])
        if caught_up and time.monotonic() >= next_report:
            sys.stdout.write(json.dumps(workers.report(_now_ms()), ensure_ascii=False) + "\n")
            sys.stdout.flush()
            if once:
                return
            next_report = time.monotonic() + every_seconds


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--bootstrap", help="host:port of the broker (default: of the running stack)")
    parser.add_argument(
        "--stack-json", type=Path, default=STACK_JSON, help="the stack's file (default .run/stack.json)"
    )
    parser.add_argument("--hours", type=float, default=16, help="how long a passage counts (default 16)")
    parser.add_argument("--every", type=float, default=5, metavar="SECONDS", help="between reports (default 5)")
    parser.add_argument("--once", action="store_true", help="one report, when all that is there was read")
    chosen = parser.parse_args()
    try:
        bootstrap = chosen.bootstrap or json.loads(chosen.stack_json.read_text(encoding="utf-8"))["kafka"]
    except FileNotFoundError:
        sys.exit(f"{chosen.stack_json} is not there: start the platform with make up, or give --bootstrap")
    try:
        asyncio.run(follow(bootstrap, int(chosen.hours * 3_600_000), chosen.every, once=chosen.once))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
