"""`firmware`: packages in GridFS's layout, written and read by plain methods of collections (ADR 0006), so that of a
package only what is asked for is ever in memory.

1. A file's document stands first as a mark, and as GridFS wants it once all chunks are there: only then is it found.
2. A mark that is left over, since its process died, is swept with its chunks by a later upload.
"""

import hashlib
import logging
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import aclosing
from typing import Any

import pymongo
from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from bson.int64 import Int64
from pymongo.errors import DuplicateKeyError

from shared.domain.firmware import Firmware
from shared.runtime.unavailable import Unavailable
from shared.stores.mongo.client import Database, Document, mongo_faults
from shared.stores.person_interfaces import VersionTaken

log = logging.getLogger(__name__)

FILES = "firmware.files"
COLLECTION = "firmware.chunks"
_UP = pymongo.ASCENDING
INDEXES = [pymongo.IndexModel([("files_id", _UP), ("n", _UP)], unique=True)]
FILE_INDEXES = [
    pymongo.IndexModel(
        [("metadata.version", _UP)], unique=True, partialFilterExpression={"metadata.version": {"$exists": True}}
    )
]
"""Marks have no version yet: of two that are uploaded at once the one that ends first is the package."""

CHUNK_BYTES = 256 * 1024
"""Where a byte is found rests on it: it never changes."""

PIECE_BYTES = 4 * CHUNK_BYTES
"""Written at once: each write waits for the journal."""

ABANDONED_MS = 86_400_000
"""After so long an upload that has not ended never will."""

_WHOLE: Document = {"uploadingSinceMs": {"$exists": False}}


class MongoFirmwareStore:
    """FirmwareStore in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._files = database.get_collection(FILES)
        self._chunks = database.get_collection(COLLECTION)

    async def add(self, version: str, data: AsyncIterator[bytes], now_ms: int) -> Firmware:
        await self._sweep(now_ms)
        # In order of time, and so are pages; the rest tells uploads of one millisecond apart.
        firmware_id = f"f{now_ms:012x}{secrets.token_hex(4)}"
        with mongo_faults():
            await self._files.insert_one({"_id": firmware_id, "uploadingSinceMs": now_ms})
        try:
            return await self._upload(firmware_id, version, data, now_ms)
        except Exception:  # whatever `data` raised, nothing stays; one that was cancelled may write yet, and is swept
            await self._remove(firmware_id)
            raise

    async def _upload(self, firmware_id: str, version: str, data: AsyncIterator[bytes], now_ms: int) -> Firmware:
        size, digest = 0, hashlib.sha256()
        async with aclosing(_in_pieces(data)) as pieces:
            async for piece in pieces:
                chunks: list[Document] = [
                    {
                        "files_id": firmware_id,
                        "n": (size + first) // CHUNK_BYTES,
                        "data": Binary(piece[first : first + CHUNK_BYTES]),
                    }
                    for first in range(0, len(piece), CHUNK_BYTES)
                ]
                with mongo_faults():
                    await self._chunks.insert_many(chunks)
                size += len(piece)
                digest.update(piece)
        document: Document = {
            "filename": version,
            "length": Int64(size),
            "chunkSize": CHUNK_BYTES,
            "uploadDate": DatetimeMS(now_ms),
            "metadata": {"version": version, "sha256": digest.hexdigest(), "createdAtMs": now_ms},
        }
        try:
            with mongo_faults():
                result = await self._files.replace_one({"_id": firmware_id}, document)
        except DuplicateKeyError as error:
            raise VersionTaken from error
        if not result.matched_count:
            raise Unavailable("MongoDB: the upload took so long that it was swept")
        return _firmware({"_id": firmware_id, **document})

    async def find(self, firmware_ids: Sequence[str]) -> dict[str, Firmware]:
        wanted = {"_id": {"$in": list(firmware_ids)}, **_WHOLE}
        with mongo_faults():
            found = await self._files.find(wanted).to_list(None)
        return {document["_id"]: _firmware(document) for document in found}

    async def of_versions(self, versions: Collection[str]) -> dict[str, Firmware]:
        # Without an index: there are as many packages as a maker of terminals releases.
        wanted = {"metadata.version": {"$in": list(versions)}, **_WHOLE}
        with mongo_faults():
            found = await self._files.find(wanted).sort("_id", -_UP).to_list(None)
        return {document["metadata"]["version"]: _firmware(document) for document in found}

    async def page(self, after: str | None, limit: int) -> Sequence[Firmware]:
        wanted = {"_id": {"$gt": after or ""}, **_WHOLE}
        with mongo_faults():
            found = await self._files.find(wanted).sort("_id", _UP).limit(limit).to_list(None)
        return [_firmware(document) for document in found]

    async def read(self, firmware_id: str, start: int, length: int) -> AsyncIterator[bytes]:
        # One call a chunk and no cursor: however slow the reader, the server holds nothing for it.
        end = start + length
        for number in range(start // CHUNK_BYTES, -(-end // CHUNK_BYTES)):
            with mongo_faults():
                chunk = await self._chunks.find_one({"files_id": firmware_id, "n": number})
            if chunk is None:
                raise Unavailable("MongoDB: a package lacks a chunk")
            first = number * CHUNK_BYTES
            yield chunk["data"][max(start - first, 0) : end - first]

    async def _sweep(self, now_ms: int) -> None:
        with mongo_faults():
            left = await self._files.find({"uploadingSinceMs": {"$lt": now_ms - ABANDONED_MS}}).to_list(None)
        for document in left:
            await self._remove(document["_id"])

    async def _remove(self, firmware_id: str) -> None:
        try:
            with mongo_faults():
                await self._chunks.delete_many({"files_id": firmware_id})
                await self._files.delete_one({"_id": firmware_id})
        except Unavailable as error:
            log.warning("what was uploaded in part stays until it is swept: %s", error)


async def _in_pieces(data: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    held = bytearray()
    async for part in data:
        held += part
        while len(held) >= PIECE_BYTES:
            yield bytes(held[:PIECE_BYTES])
            del held[:PIECE_BYTES]
    if held:
        yield bytes(held)


def _firmware(document: dict[str, Any]) -> Firmware:
    return Firmware(
        firmware_id=document["_id"],
        version=document["metadata"]["version"],
        size=int(document["length"]),
        sha256=document["metadata"]["sha256"],
        created_at_ms=document["metadata"]["createdAtMs"],
    )
