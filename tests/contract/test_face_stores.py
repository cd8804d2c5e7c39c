"""How the store of faces behaves, in memory and in MongoDB alike."""

from collections.abc import AsyncIterator

import pytest

from shared.runtime.settings import MongoSettings
from shared.stores.memory_persons import MemoryFaceStore
from shared.stores.mongo.client import open_mongo
from shared.stores.mongo.faces import MongoFaceStore
from shared.stores.person_interfaces import FaceStore
from tests.support.attendance import JPEG


@pytest.fixture(params=["memory", "mongo"])
async def faces(request: pytest.FixtureRequest) -> AsyncIterator[FaceStore]:
    if request.param == "memory":
        yield MemoryFaceStore()
        return
    async with open_mongo(request.getfixturevalue("mongo_settings"), "test") as database:
        yield MongoFaceStore(database)


@pytest.mark.parametrize("person_id", ["4508004291609636864", "张三/1", "a.b", "$set"])
async def test_a_face_comes_back_as_it_was_put(faces: FaceStore, person_id: str) -> None:
    await faces.put(person_id, JPEG, "a" * 64)
    assert await faces.find(person_id) == (JPEG, "a" * 64)
    assert await faces.find("nobody") is None


async def test_a_face_that_is_put_takes_the_place_of_the_earlier_one(faces: FaceStore) -> None:
    await faces.put("1", b"older", "a" * 64)
    await faces.put("2", b"another's", "c" * 64)
    await faces.put("1", b"newer", "b" * 64)
    assert await faces.find("1") == (b"newer", "b" * 64)
    assert await faces.find("2") == (b"another's", "c" * 64)


async def test_a_deleted_face_is_gone_and_deleting_nothing_is_nothing(faces: FaceStore) -> None:
    await faces.put("1", b"one", "a" * 64)
    await faces.put("2", b"two", "b" * 64)
    for _ in range(2):
        await faces.delete("1")
    assert await faces.find("1") is None
    assert await faces.find("2") == (b"two", "b" * 64)


async def test_a_face_of_several_megabytes_is_kept_whole(faces: FaceStore) -> None:
    data = bytes(range(256)) * 20_000
    await faces.put("1", data, "a" * 64)
    assert await faces.find("1") == (data, "a" * 64)


async def test_design_8_nothing_stands_beside_a_face_but_whose_it_is(mongo_settings: MongoSettings) -> None:
    async with open_mongo(mongo_settings, "test") as database:
        await MongoFaceStore(database).put("1", JPEG, "a" * 64)
        assert await database["faces"].find_one() == {"_id": "1", "data": JPEG, "sha256": "a" * 64}
