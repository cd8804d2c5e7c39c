"""What the store of packages leaves in MongoDB, and what it costs in memory."""

import asyncio
import hashlib
import tracemalloc
from collections.abc import AsyncIterator

import gridfs
import pymongo
import pytest

from shared.runtime.settings import MongoSettings
from shared.runtime.unavailable import Unavailable
from shared.stores.mongo.client import Database, Document, open_mongo
from shared.stores.mongo.firmware import ABANDONED_MS, MongoFirmwareStore
from shared.stores.mongo.indexes import make_indexes
from stack.mongo_part import MongoPart
from tests.support.session_values import NOW_MS

CHUNK_BYTES = 256 * 1024
DATA = bytes(range(256)) * 4096 + b"the end"


@pytest.fixture
async def database(mongo_settings: MongoSettings) -> AsyncIterator[Database]:
    async with open_mongo(mongo_settings, "test") as database:
        await make_indexes(database)
        yield database


async def parts(*given: bytes) -> AsyncIterator[bytes]:
    for part in given:
        yield part


async def stored(database: Database) -> tuple[int, int]:
    """How many files and chunks there are."""
    files = await database["firmware.files"].find({}, {"_id": True}).to_list(None)
    chunks = await database["firmware.chunks"].find({}, {"_id": True}).to_list(None)
    return len(files), len(chunks)


async def test_the_drivers_own_gridfs_reads_what_was_written(database: Database, mongo_settings: MongoSettings) -> None:
    package = await MongoFirmwareStore(database).add("v1.2", parts(DATA[:1000], DATA[1000:]), NOW_MS)

    def read_by_gridfs() -> tuple[bytes, str | None, int]:
        client: pymongo.MongoClient[Document] = pymongo.MongoClient(mongo_settings.url.get_secret_value())
        with client:
            bucket = gridfs.GridFSBucket(client[mongo_settings.database], "firmware")
            file = bucket.open_download_stream(package.firmware_id)
            return file.read(), file.filename, file.length

    assert await asyncio.to_thread(read_by_gridfs) == (DATA, "v1.2", len(DATA))


async def test_of_an_upload_that_breaks_off_neither_file_nor_chunk_stays(database: Database) -> None:
    async def cut_off() -> AsyncIterator[bytes]:
        yield DATA
        assert (await stored(database))[1] > 1, "chunks were written before it broke off"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await MongoFirmwareStore(database).add("v1", cut_off(), NOW_MS)
    assert await stored(database) == (0, 0)


async def test_an_upload_whose_process_died_is_never_found_and_swept_by_a_later_one(database: Database) -> None:
    store = MongoFirmwareStore(database)
    stuck = asyncio.Event()

    async def never_ends() -> AsyncIterator[bytes]:
        yield DATA
        stuck.set()
        await asyncio.Event().wait()

    dying = asyncio.ensure_future(store.add("v1", never_ends(), NOW_MS))
    await stuck.wait()
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    assert await stored(database) == (1, 4)
    assert await store.page(None, 10) == []
    await store.add("v2", parts(b"x"), NOW_MS + ABANDONED_MS)
    assert await stored(database) == (2, 5)
    later = await store.add("v3", parts(b"x"), NOW_MS + ABANDONED_MS + 1)
    assert await stored(database) == (2, 2)
    assert later in await store.page(None, 10)


async def test_an_upload_that_was_swept_while_it_went_on_is_no_package(database: Database) -> None:
    store = MongoFirmwareStore(database)

    async def for_days() -> AsyncIterator[bytes]:
        yield DATA
        await store.add("v2", parts(b"x"), NOW_MS + ABANDONED_MS + 1)
        yield DATA

    with pytest.raises(Unavailable):
        await store.add("v1", for_days(), NOW_MS)
    assert [package.version for package in await store.page(None, 10)] == ["v2"]
    assert await stored(database) == (1, 1)


async def test_design_7_64_mib_go_in_and_out_without_being_in_memory(database: Database) -> None:
    part = bytes(range(256)) * 256
    megabytes = 64

    async def upload() -> AsyncIterator[bytes]:
        for _ in range(megabytes * 16):
            yield part

    store = MongoFirmwareStore(database)
    tracemalloc.start()
    try:
        package = await store.add("large", upload(), NOW_MS)
        digest, size = hashlib.sha256(), 0
        async for chunk in store.read(package.firmware_id, 0, package.size):
            digest.update(chunk)
            size += len(chunk)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert package.size == size == megabytes * 1024 * 1024
    assert digest.hexdigest() == package.sha256 == hashlib.sha256(part * megabytes * 16).hexdigest()
    assert peak < 8 * 1024 * 1024


async def test_a_lost_chunk_is_our_fault_and_never_a_hole(database: Database) -> None:
    store = MongoFirmwareStore(database)
    package = await store.add("v1", parts(DATA), NOW_MS)
    await database["firmware.chunks"].delete_one({"files_id": package.firmware_id, "n": 1})
    read = store.read(package.firmware_id, 0, package.size)
    assert await anext(read) == DATA[:CHUNK_BYTES]
    with pytest.raises(Unavailable):
        await anext(read)


async def test_a_server_that_hangs_is_unavailable(mongo_settings: MongoSettings, mongo_part: MongoPart) -> None:
    hasty = mongo_settings.model_copy(update={"timeout_ms": 300})
    async with open_mongo(hasty, "test") as database:
        store = MongoFirmwareStore(database)
        package = await store.add("v1", parts(DATA), NOW_MS)
        mongo_part.suspend()
        try:
            with pytest.raises(Unavailable):
                await anext(store.read(package.firmware_id, 0, package.size))
            with pytest.raises(Unavailable):
                await store.find([package.firmware_id])
        finally:
            mongo_part.resume()
