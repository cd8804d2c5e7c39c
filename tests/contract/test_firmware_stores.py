"""How the store of packages behaves, in memory and in MongoDB alike."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator

import pytest

from shared.domain.firmware import Firmware
from shared.runtime.settings import MongoSettings
from shared.runtime.unavailable import Unavailable
from shared.stores.memory_firmware import MemoryFirmwareStore
from shared.stores.mongo.client import open_mongo
from shared.stores.mongo.firmware import MongoFirmwareStore
from shared.stores.mongo.indexes import make_indexes
from shared.stores.person_interfaces import FirmwareStore, VersionTaken
from tests.support.session_values import NOW_MS

CHUNK_BYTES = 256 * 1024
DATA = random.Random(5).randbytes(3 * CHUNK_BYTES + 1000)


@pytest.fixture(params=["memory", "mongo"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[FirmwareStore]:
    if request.param == "memory":
        yield MemoryFirmwareStore()
        return
    settings: MongoSettings = request.getfixturevalue("mongo_settings")
    async with open_mongo(settings, "test") as database:
        await make_indexes(database)
        yield MongoFirmwareStore(database)


async def upload(data: bytes, part_bytes: int = 100_000) -> AsyncIterator[bytes]:
    """As it comes from a socket: in parts that fit nothing."""
    for start in range(0, len(data), part_bytes):
        yield data[start : start + part_bytes]


async def read_all(store: FirmwareStore, firmware_id: str, start: int, length: int) -> bytes:
    return b"".join([part async for part in store.read(firmware_id, start, length)])


@pytest.mark.parametrize("part_bytes", [1_000_000, 100_000, CHUNK_BYTES, 2 * CHUNK_BYTES + 1])
async def test_a_package_comes_back_as_it_was_uploaded_with_its_size_and_hash(
    store: FirmwareStore, part_bytes: int
) -> None:
    package = await store.add("v2.0.0", upload(DATA, part_bytes), NOW_MS)
    assert package == Firmware(
        firmware_id=package.firmware_id,
        version="v2.0.0",
        size=len(DATA),
        sha256=hashlib.sha256(DATA).hexdigest(),
        created_at_ms=NOW_MS,
    )
    assert await store.find([package.firmware_id, "unknown"]) == {package.firmware_id: package}
    assert await read_all(store, package.firmware_id, 0, len(DATA)) == DATA


@pytest.mark.parametrize(
    ("start", "length"),
    [
        (0, 1),
        (len(DATA) - 1, 1),
        (CHUNK_BYTES - 1, 2),
        (CHUNK_BYTES, CHUNK_BYTES),
        (CHUNK_BYTES + 7, CHUNK_BYTES - 7),
        (5, len(DATA) - 10),
        (3 * CHUNK_BYTES, 1000),
    ],
)
async def test_any_span_of_a_package_can_be_read(store: FirmwareStore, start: int, length: int) -> None:
    package = await store.add("v1", upload(DATA), NOW_MS)
    assert await read_all(store, package.firmware_id, start, length) == DATA[start : start + length]


async def test_an_empty_package_has_a_size_of_nothing(store: FirmwareStore) -> None:
    package = await store.add("v0", upload(b""), NOW_MS)
    assert (package.size, package.sha256) == (0, hashlib.sha256(b"").hexdigest())
    assert await read_all(store, package.firmware_id, 0, 0) == b""


async def test_where_the_upload_breaks_off_nothing_is_found_and_its_error_comes_out(store: FirmwareStore) -> None:
    async def cut_off() -> AsyncIterator[bytes]:
        yield DATA
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await store.add("v1", cut_off(), NOW_MS)
    assert await store.page(None, 10) == []


async def test_pages_are_in_the_order_of_uploads_and_none_is_given_twice(store: FirmwareStore) -> None:
    added = [await store.add(f"v{number}", upload(b"x"), NOW_MS + number) for number in range(5)]
    pages, after = [], None
    while page := await store.page(after, 2):
        pages.append([package.version for package in page])
        after = page[-1].firmware_id
    assert pages == [["v0", "v1"], ["v2", "v3"], ["v4"]]
    assert await store.page(added[1].firmware_id, 1) == [added[2]]


async def test_two_packages_at_one_time_are_two(store: FirmwareStore) -> None:
    one, other = [
        await store.add(version, upload(data), NOW_MS) for version, data in (("v1", b"one"), ("v2", b"other"))
    ]
    assert one.firmware_id != other.firmware_id
    assert await read_all(store, one.firmware_id, 0, 3) == b"one"
    assert await read_all(store, other.firmware_id, 0, 5) == b"other"


async def test_reading_a_package_that_is_not_there_is_our_fault(store: FirmwareStore) -> None:
    with pytest.raises(Unavailable):
        await read_all(store, "unknown", 0, 1)


async def test_the_package_of_a_version_is_the_one_that_came_first(store: FirmwareStore) -> None:
    first = await store.add("v1", upload(b"one"), NOW_MS)
    with pytest.raises(VersionTaken):
        await store.add("v1", upload(b"other"), NOW_MS + 1)
    second = await store.add("v2", upload(b"two"), NOW_MS + 2)
    assert await store.of_versions(["v2", "v1", "v3"]) == {"v1": first, "v2": second}
    assert await store.of_versions([]) == {}


async def test_of_two_packages_of_one_version_that_are_uploaded_at_once_one_is_there(store: FirmwareStore) -> None:
    outcomes = await asyncio.gather(
        *(store.add("v9", upload(DATA[number:]), NOW_MS + number) for number in range(3)), return_exceptions=True
    )
    (added,) = [outcome for outcome in outcomes if isinstance(outcome, Firmware)]
    assert [type(outcome) for outcome in outcomes if outcome is not added] == [VersionTaken] * 2
    assert await store.page(None, 10) == [added]
    assert await store.of_versions(["v9"]) == {"v9": added}
    assert len(await read_all(store, added.firmware_id, 0, added.size)) == added.size
