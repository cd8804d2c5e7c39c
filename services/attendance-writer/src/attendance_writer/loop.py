"""Poll, decode, batch, write, commit: the only file that knows offsets.

1. Offsets are committed after everything before them is stored or a dead letter, and never otherwise.
2. What may pass (Unavailable) is tried again, for as long as it takes, while membership of the group is kept.
   Nothing is skipped.
3. Before partitions are revoked, what was read of them is written and committed, within the group's rebalance timeout.
   What is not done by then is dropped uncommitted: whoever gets the partitions reads it again.
4. Whatever else is raised ends the loop, and with it the process.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from attendance_writer.batch import Batch, BatchLimits, Place
from attendance_writer.dead_letters import RejectionWindow
from attendance_writer.decode import Rejected, decode
from attendance_writer.metrics import WriterCounts
from attendance_writer.oldest_record import OldestRecord
from shared.domain.events import ConsumedRecord
from shared.kafka.consumer import PartitionsLost, RecordsLost
from shared.runtime.unavailable import Unavailable

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 0.1
MAX_RETRY_SECONDS = 5.0
POLL_ENDS_SECONDS = 1.0


class Source(Protocol):
    """Where records come from: shared.kafka.consumer.GroupConsumer."""

    async def poll(self, timeout_seconds: float) -> Sequence[ConsumedRecord]: ...

    async def stay(self) -> None: ...

    def resume(self) -> None: ...

    async def commit(self, next_offsets: Mapping[Place, int]) -> None: ...


class Writer(Protocol):
    """What makes a batch durable: attendance_writer.writes.BatchWriter."""

    async def write(self, batch: Batch) -> None: ...


class LoopSettings(msgspec.Struct, frozen=True):
    """Times and bounds of the loop."""

    limits: BatchLimits
    revoke_seconds: float
    """How long a revocation may be held up; below the rebalance timeout."""
    leave_seconds: float
    """How long stopping may take."""


class WriterLoop:
    """Moves records from the source into the writer. `run` once; `on_revoked` is the source's revocation callback."""

    def __init__(self, settings: LoopSettings, writer: Writer, window: RejectionWindow, counts: WriterCounts) -> None:
        self.oldest = OldestRecord()
        self._settings = settings
        self._writer = writer
        self._window = window
        self._counts = counts
        self._source: Source | None = None
        self._batch = Batch(settings.limits)
        self._storing = asyncio.Lock()
        self._polling: asyncio.Timeout | None = None
        self._patience: asyncio.Timeout | None = None
        self._give_up_at: float | None = None
        self._stopping = asyncio.Event()
        self._failure: Exception | None = None

    async def run(self, source: Source) -> None:
        """Works until `stop`; then writes and commits what was read."""
        self._source = source
        clock = asyncio.get_running_loop()
        try:
            while not self._stopping.is_set():
                await self._read(source, self._batch.remaining_seconds(clock.time()))
                if self._failure is not None:
                    raise self._failure
                if self._stopping.is_set() or self._batch.remaining_seconds(clock.time()) == 0:
                    await self._store(source)
        finally:
            self._batch = Batch(self._settings.limits)  # after a failure nothing is left for a revocation to commit

    @property
    def is_running(self) -> bool:
        """True from the moment at which `run` may hold records."""
        return self._source is not None

    def oldest_age_seconds(self, now_ms: int) -> float:
        """Of the oldest passage, or part of one, that is not stored; 0 where all are."""
        return self.oldest.age_seconds(self._batch.oldest_attendance_ms, now_ms)

    def stop(self) -> None:
        """Makes `run` end: at once where nothing is held, else when it is stored or `leave_seconds` have passed."""
        self._stopping.set()
        self._hurry(self._settings.leave_seconds)
        if (
            self._polling is not None and not self._polling.expired()
        ):  # a poll waits for the end of a rebalance, which others may hold up
            self._polling.reschedule(asyncio.get_running_loop().time() + POLL_ENDS_SECONDS)

    async def on_revoked(self) -> None:
        """Writes and commits what was read, within `revoke_seconds`."""
        if self._source is None:
            return
        self._hurry(self._settings.revoke_seconds)
        try:
            await self._store(self._source)
        except Exception as error:  # noqa: BLE001 - the consumer would log and forget it; run() raises it
            self._failure = error
        if not self._stopping.is_set():
            self._give_up_at = None

    async def _read(self, source: Source, timeout_seconds: float) -> None:
        self._polling = polling = asyncio.timeout(None)
        try:
            async with polling:
                records = await source.poll(timeout_seconds)
        except TimeoutError:
            if not polling.expired():
                raise
            return
        except RecordsLost as error:
            self._counts.lost += error.count
            self._batch.pass_over(error.place, error.begin)
            log.error("%s", error)  # noqa: TRY400 - there is no fault of ours to trace
            return
        except Unavailable as error:
            log.warning("cannot read: %s", error)
            await asyncio.sleep(FIRST_RETRY_SECONDS)
            return
        finally:
            self._polling = None
        # No await from here to the end: the batch has the records before a revocation can begin.
        now = asyncio.get_running_loop().time()
        for record in records:
            decoded = decode(record)
            self._batch.add(record, decoded, now)
            self._window.note(is_rejected=isinstance(decoded, Rejected))

    async def _store(self, source: Source) -> None:
        """Returns with an empty batch: written and then committed, or dropped uncommitted (3)."""
        async with self._storing:
            self._patience = patience = asyncio.timeout_at(self._give_up_at)
            try:
                async with patience:
                    await self._write_then_commit(source)
            except TimeoutError:
                if not patience.expired():  # somebody else's: to drop the batch for it would skip records
                    raise
                log.warning("%d records not stored in time; they will be read again", len(self._batch))
            except PartitionsLost:
                log.warning("%d records were stored, but their partitions are lost", len(self._batch))
            finally:
                self._patience = None
                source.resume()
            self._batch = Batch(self._settings.limits)

    async def _write_then_commit(self, source: Source) -> None:
        batch = self._batch
        delay = FIRST_RETRY_SECONDS
        while batch.next_offsets:
            is_stored = False
            try:
                await self._writer.write(batch)
                is_stored = True
                await source.commit(batch.next_offsets)
            except Unavailable as error:
                self._counts.retries += 1
                if is_stored:  # else the writer has said it
                    log.warning("%d records are stored, but not committed: %s", len(batch), error)
                await source.stay()
                await asyncio.sleep(delay)
                delay = min(delay * 2, MAX_RETRY_SECONDS)
            else:
                self.oldest.committed(batch.next_offsets)
                self._counts.batches += 1
                self._counts.last_batch_at = asyncio.get_running_loop().time()
                return

    def _hurry(self, seconds: float) -> None:
        """From now on, storing gives up after so long, the one in progress too."""
        deadline = asyncio.get_running_loop().time() + seconds
        self._give_up_at = deadline if self._give_up_at is None else min(self._give_up_at, deadline)
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(self._give_up_at)
