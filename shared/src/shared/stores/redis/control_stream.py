"""The control stream: one capped Redis Stream whose entries are JSON in one field (design rule 4).

How a reader knows that it missed nothing: **the last entry that it read still stands in the stream.** A stream is cut
from its oldest end, so where that entry stands, all that came after it stands too; and a stream that was flushed or
lost and made anew does not have it, by id and content together (ids are made of milliseconds, so one may come twice).
It is looked for after each reading, so that nothing can go in between. A reader that begins has read nothing: it adds
an entry of its own, an anchor, and reads on from there; other readers pass over it. This never misses a loss. It cries
wolf only where everything up to exactly that entry was cut, which takes as many new entries as the stream holds, or a
hand at XTRIM.
"""

import logging
import secrets
from collections.abc import Sequence

import msgspec
from redis.asyncio import Redis

from shared.domain.control import ControlEntry
from shared.stores.redis.client import CONTROL_STREAM_KEY, redis_faults

log = logging.getLogger(__name__)

CONTROL_STREAM_FIELD = "entry"
CONTROL_STREAM_LENGTH = 10_000
"""About this many entries are kept: minutes of a storm in which every device authenticates anew."""

_ANCHOR_FIELD = "anchor"
_READ_AT_ONCE = 1000


Fields = dict[bytes, bytes]


class RedisControlStream:
    """ControlStream in Redis; one object is one reader."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        # XREAD waits inside a call, which must end before the client gives it up as hung.
        self._longest_block_ms = int(redis.connection_pool.connection_kwargs["socket_timeout"] * 500)
        self._last_read: tuple[bytes, Fields] | None = None
        self._decoder: msgspec.json.Decoder[ControlEntry] = msgspec.json.Decoder(ControlEntry)
        self.malformed = 0

    async def publish(self, entry: ControlEntry) -> None:
        await self._add(CONTROL_STREAM_FIELD, msgspec.json.encode(entry))

    async def read(self, block_ms: int) -> Sequence[ControlEntry] | None:
        if self._last_read is None:
            await self._begin()
            return None
        last_id, _ = self._last_read
        with redis_faults():
            async with self._redis.pipeline(transaction=False) as pipeline:
                block = max(1, min(block_ms, self._longest_block_ms))
                pipeline.xread({CONTROL_STREAM_KEY: last_id}, count=_READ_AT_ONCE, block=block)
                pipeline.xrange(CONTROL_STREAM_KEY, last_id, last_id)
                streams, still_there = await pipeline.execute()
        if still_there != [self._last_read]:
            await self._begin()
            return None
        entries: list[ControlEntry] = []
        for _key, items in streams:
            for entry_id, fields in items:
                self._last_read = entry_id, fields
                if (entry := self._decode(entry_id, fields)) is not None:
                    entries.append(entry)
        return entries

    async def _begin(self) -> None:
        anchor = secrets.token_hex(8).encode()
        self._last_read = await self._add(_ANCHOR_FIELD, anchor), {_ANCHOR_FIELD.encode(): anchor}

    async def _add(self, field: str, value: bytes) -> bytes:
        with redis_faults():
            entry_id: bytes = await self._redis.xadd(
                CONTROL_STREAM_KEY, {field: value}, maxlen=CONTROL_STREAM_LENGTH, approximate=True
            )
        return entry_id

    def _decode(self, entry_id: bytes, fields: Fields) -> ControlEntry | None:
        if _ANCHOR_FIELD.encode() in fields:
            return None
        try:
            return self._decoder.decode(fields.get(CONTROL_STREAM_FIELD.encode(), b""))
        except msgspec.MsgspecError:
            if not self.malformed:  # one line, however many there are
                log.warning("control stream: entry %s cannot be read; further ones are counted", entry_id.decode())
            self.malformed += 1
            return None
