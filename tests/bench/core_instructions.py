"""How many instructions the ingress executes for one request, counted by valgrind's callgrind: no other process of the
machine changes that, so a loss shows where times are too noisy.

    .venv/bin/python -m tests.bench.core_instructions

From a frame's bytes to the records, and to the answer's bytes; without socket and broker (ingress_alone.py). Counted is
a process that does a number of requests, less one that does none; both are forks of one that did some before.
"""

import asyncio
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from terminal_simulator.wire import encode_frame
from tests.bench.ingress_alone import SECRET, SN, TOKEN, Transport, open_connection
from tests.support.builders import BEIJING_SECONDS, make_heartbeat, make_sign_in
from tests.support.session_values import NOW_MS

COUNTS = {"heartbeat": 320, "sign-in": 320, "sign-in with 30 KB": 96}
AT_ONCE = 16
"""Frames of one read; a picture's frame is one by itself."""
WARM_UP = 3 * AT_ONCE
PICTURE_BYTES = 30_000
SECONDS = 900
INSIDE = "--inside-valgrind"


def reads(kind: str, count: int) -> list[bytes]:
    """What the connection reads, the same in every run."""
    stamp = time.strftime("%Y%m%d%H%M%S", time.gmtime(NOW_MS / 1000 + BEIJING_SECONDS))
    if kind == "heartbeat":
        frames = [encode_frame(make_heartbeat(SECRET, SN, TOKEN, stamp=stamp))] * count
    else:
        picture = random.Random(1).randbytes(PICTURE_BYTES) if kind != "sign-in" else None
        times = range(NOW_MS, NOW_MS + count)
        frames = [
            encode_frame(make_sign_in(SECRET, SN, TOKEN, record_time=one, picture=picture, stamp=stamp))
            for one in times
        ]
    at_once = AT_ONCE if kind != "sign-in with 30 KB" else 1
    return [b"".join(frames[start : start + at_once]) for start in range(0, count, at_once)]


async def answer(prepared: Sequence[bytes]) -> Transport:
    """Has all of it answered, one read after the other."""
    connection, transport = open_connection()
    for data in prepared:
        connection.data_received(data)
        while connection.unanswered:  # noqa: ASYNC110 (each turn of the loop is wanted: they are counted)
            await asyncio.sleep(0)
    await asyncio.sleep(0)  # the answers of a turn of the loop leave in the next one
    return transport


def check(written: bytearray, count: int) -> None:
    """Figures of refused requests would mean nothing: every answer is the same frame, which says success (M5). Raises
    SystemExit."""
    one = written[: written[0] + 1]
    if b"\x10\x01" not in one or written != one * count:
        raise SystemExit(f"a request was refused: {written[:200]!r}")


def fork_each() -> None:
    """Inside valgrind: prints the pid of the process that did none, and of those that did each kind."""
    for kind in COUNTS:
        check(asyncio.run(answer(reads(kind, WARM_UP))).written, WARM_UP)
    prepared: dict[str, list[bytes]] = {"": [], **{kind: reads(kind, count) for kind, count in COUNTS.items()}}
    for kind, data in prepared.items():
        pid = os.fork()
        if pid == 0:
            transport = asyncio.run(answer(data))
            if data:
                check(transport.written, COUNTS[kind])
            os._exit(0)
        if os.waitpid(pid, 0)[1] != 0:
            raise SystemExit(f"{kind}: the process failed")
        print(f"{pid} {kind}", flush=True)


def instructions() -> dict[str, float] | None:
    """Of one request of each kind; None where valgrind is not installed. Raises SystemExit where it fails."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        return None
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory)
        command = [valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--log-file={log}/%p"]
        command += [sys.executable, "-m", "tests.bench.core_instructions", INSIDE]
        # Without the hash seed dicts collide otherwise in each run.
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        ran = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=SECONDS, check=False)
        if ran.returncode:
            raise SystemExit("valgrind failed")
        pids = {kind: pid for pid, _, kind in (line.partition(" ") for line in ran.stdout.splitlines())}
        collected = {kind: _collected((log / pid).read_text()) for kind, pid in pids.items()}
    return {kind: (collected[kind] - collected[""]) / count for kind, count in COUNTS.items()}


def _collected(text: str) -> int:
    found = re.search(r"Collected : (\d+)", text)
    if found is None:
        raise SystemExit(f"valgrind says no count:\n{text}")
    return int(found[1])


def main() -> None:
    """Prints the counts, or that they cannot be had."""
    if INSIDE in sys.argv:
        fork_each()
        return
    counts = instructions()
    if counts is None:
        raise SystemExit("valgrind is missing, so nothing was counted (Debian: apt-get install valgrind)")
    for kind, count in counts.items():
        print(f"{kind:20}{count:12.0f} instructions")


if __name__ == "__main__":
    main()
