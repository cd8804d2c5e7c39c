"""A batch into the stores and the dead-letter topic; when `write` returns, all of it is durable."""

import logging
from collections.abc import Mapping

from attendance_writer.batch import Batch
from attendance_writer.batch_spans import BatchSpans, batch_spans
from attendance_writer.dead_letters import DeadLetters, RejectionWindow
from attendance_writer.decode import Rejected, StoreFault, SyntheticSignIn
from attendance_writer.metrics import WriterCounts
from shared.domain.attendance import AttendanceEvent
from shared.domain.events import ConsumedRecord
from shared.domain.presence import PresenceEvent
from shared.runtime.tracing import NOT_TRACED, Tracing
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import (
    AttendanceStore,
    PictureStore,
    PresenceRecordStore,
    StoredDetails,
    StoredPicture,
    SyntheticAttendanceStore,
)
from shared.stores.mongo.devices import COLLECTION as DEVICES
from shared.stores.mongo.image_links import ATTENDANCE, PICTURES
from shared.stores.mongo.synthetic_attendance import COLLECTION as SYNTHETIC

log = logging.getLogger(__name__)


class BatchWriter:
    """Writes batches; each step is idempotent, so a batch is simply written again after any fault."""

    def __init__(
        self,
        attendance: AttendanceStore,
        pictures: PictureStore,
        synthetic: SyntheticAttendanceStore,
        presence: PresenceRecordStore,
        dead_letters: DeadLetters,
        window: RejectionWindow,
        counts: WriterCounts,
        tracing: Tracing = NOT_TRACED,
    ) -> None:
        self._attendance = attendance
        self._pictures = pictures
        self._synthetic = synthetic
        self._presence = presence
        self._dead_letters = dead_letters
        self._window = window
        self._counts = counts
        self._tracing = tracing

    async def write(self, batch: Batch) -> None:
        """Stores what can be stored, then sends the rest to the dead-letter topic. Raises Unavailable,
        TooManyRejected."""
        with batch_spans(self._tracing, batch.records) as spans:
            try:
                await self._write(batch, spans)
            except Unavailable as error:
                log.warning("%d records wait: %s", len(batch), error)  # here, where the line is part of the trace
                raise

    async def _write(self, batch: Batch, spans: BatchSpans) -> None:
        pictures, details, events = (
            batch.of_kind(StoredPicture),
            batch.of_kind(StoredDetails),
            batch.of_kind(AttendanceEvent),
        )
        refused: list[tuple[ConsumedRecord, Rejected]] = []
        if pictures:
            with spans.storing(pictures, PICTURES):
                added = await self._pictures.add_many([picture for _, picture in pictures])
            self._counts.pictures += added.new
            self._counts.past_retention += added.past_retention
            refused += _refused(pictures, added.refused)
        if details:
            with spans.storing(details, PICTURES):
                added = await self._pictures.add_details([item for _, item in details])
            self._counts.past_retention += added.past_retention
            refused += _refused(details, added.refused)
        if events:
            with spans.storing(events, ATTENDANCE):
                added = await self._attendance.add_many([event for _, event in events])
            self._counts.stored += added.new
            self._counts.past_retention += added.past_retention
            new_refused = _refused(events, added.refused)
            self._counts.duplicates += len(events) - added.new - len(new_refused) - added.past_retention
            refused += new_refused
        if presence := batch.of_kind(PresenceEvent):
            with spans.storing(presence, DEVICES, "update"):
                await self._presence.apply([event for _, event in presence])
            self._counts.presence_events += len(presence)
        if synthetic := batch.of_kind(SyntheticSignIn):
            with spans.storing(synthetic, SYNTHETIC):
                added = await self._synthetic.add_many([sign_in.event for _, sign_in in synthetic])
            self._counts.synthetic += added.new
            refused += _refused(synthetic, added.refused)
        for _ in refused:
            self._window.note(is_rejected=True)
        rejected = [*batch.of_kind(Rejected), *refused]
        # Last, because a dead letter is the one write that a repetition doubles.
        for record, why in rejected:
            log.warning(
                "dead letter from %s/%d offset %d: %s: %s",
                record.topic,
                record.partition,
                record.offset,
                why.reason,
                why.detail,
                extra={"span": spans.of(record)},
            )
        await self._dead_letters.send(rejected)
        for record, why in rejected:
            spans.reject(record, why.reason)
            self._counts.dead_letters[why.reason] += 1


def _refused(
    items: list[tuple[ConsumedRecord, AttendanceEvent]]
    | list[tuple[ConsumedRecord, SyntheticSignIn]]
    | list[tuple[ConsumedRecord, StoredPicture]]
    | list[tuple[ConsumedRecord, StoredDetails]],
    refused: Mapping[str, str],
) -> list[tuple[ConsumedRecord, Rejected]]:
    return [
        (record, Rejected(StoreFault.REFUSED, refused[item.event_id]))
        for record, item in items
        if item.event_id in refused
    ]
