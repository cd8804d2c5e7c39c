"""The session service as it is wired, over HTTP, on a real Redis and a real MongoDB."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp
import bson
import msgspec
import pytest
from redis.asyncio import Redis

from session_service.settings import SessionSettings
from session_service.wiring import open_session
from shared.domain.authentication import AuthCall, AuthReply
from shared.domain.control import CredentialRevoked, DeviceChanged, DeviceDisabled, SessionReplaced
from shared.domain.devices import Direction, SiteSpan
from shared.domain.sealing import Sealer
from shared.domain.sessions import Session
from shared.runtime.lifecycle import Lifecycle
from shared.runtime.settings import KafkaSettings, MongoSettings, PresenceSettings, RedisSettings, SealingSettings
from shared.stores.interfaces import NewSession
from shared.stores.mongo.client import open_mongo
from shared.stores.redis.client import CONTROL_STREAM_KEY, open_redis
from shared.stores.redis.control_stream import RedisControlStream
from shared.stores.redis.ended import RedisEndedStore
from shared.stores.redis.sessions import RedisSessionStore
from stack.mongo_part import MongoPart
from stack.ports import free_port
from stack.redis_part import RedisPart
from tests.support.builders import time_stamp
from tests.support.session_values import make_auth_call

TOKEN = "internal-token-of-32-characters-x"
SEALING_KEYS = "k1:" + "MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA="
REASSERT_SECONDS = 0.1


class SessionHttp:
    """What ingress and console see of the service."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http

    async def admit(self, **members: object) -> dict[str, str]:
        """A vendor with its credential."""
        async with self.http.post("/internal/v1/vendors", json={"name": "Maker", **members}) as answer:
            assert answer.status == 201
            return dict(await answer.json())

    async def revoke(self, made: dict[str, str]) -> int:
        """The status of revoking the credential."""
        path = f"/internal/v1/vendors/{made['vendorId']}/credentials/{made['accessId']}"
        async with self.http.delete(path) as answer:
            return answer.status

    async def change(self, sn: str, **change: object) -> int:
        """The status of changing the device."""
        async with self.http.patch("/internal/v1/devices", json={"sn": sn, **change}) as answer:
            return answer.status

    async def answer(self, *calls: AuthCall) -> list[AuthReply]:
        """A group's replies."""
        async with self.http.post("/internal/v1/authenticate", data=msgspec.msgpack.encode(calls)) as answer:
            assert answer.status == 200
            return msgspec.msgpack.decode(await answer.read(), type=list[AuthReply])


@asynccontextmanager
async def running(redis: RedisSettings, mongo: MongoSettings, **settings: object) -> AsyncIterator[SessionHttp]:
    """A service process's worth of it, in this process."""
    port = free_port()
    values = {
        "internal_token": TOKEN,
        "port": port,
        "reassert_seconds": REASSERT_SECONDS,
        "notice_seconds": 0,
        **settings,
    }
    sealing = SealingSettings(keys=SEALING_KEYS)
    nobody = KafkaSettings(bootstrap="127.0.0.1:1")  # only the presence sweep asks for it
    opened = open_session(SessionSettings.model_validate(values), mongo, redis, sealing, nobody, PresenceSettings())
    async with (
        opened(Lifecycle()),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {TOKEN}"}) as http,
    ):
        yield SessionHttp(http)


@pytest.fixture
async def service(redis_settings: RedisSettings, mongo_settings: MongoSettings) -> AsyncIterator[SessionHttp]:
    async with running(redis_settings, mongo_settings) as service:
        yield service


@pytest.fixture
async def redis(redis_settings: RedisSettings) -> AsyncIterator[Redis]:
    async with open_redis(redis_settings) as client:
        yield client


def auth(made: dict[str, str], sn: str = "1388186", offset_seconds: int = 0, **changes: object) -> AuthCall:
    """A C_AUTH of this moment, or so many seconds off, right but for the changes."""
    values = {
        "access_id": made["accessId"],
        "access_key": made["accessKey"],
        "access_secret": made["accessSecret"],
        "sn": sn,
        "time_stamp": time_stamp(offset_seconds),
        **changes,
    }
    return make_auth_call(**values)  # type: ignore[arg-type]  # the test's own changes


def codes(replies: list[AuthReply]) -> list[str | None]:
    return [reply.error_code for reply in replies]


async def everything_under(redis: Redis, key: bytes) -> str:
    """A key and what is stored there, as it is stored."""
    kind = (await redis.type(key)).decode()
    if kind == "string":
        return repr((key, await redis.get(key)))
    return repr((key, await (redis.xrange(key) if kind == "stream" else redis.zrange(key, 0, -1))))


async def test_a_group_with_every_outcome_of_e2_is_answered_in_order(service: SessionHttp) -> None:
    made, other, revoked = await service.admit(), await service.admit(), await service.admit()
    await service.answer(auth(other, "others"))
    await service.revoke(revoked)
    replay = auth(made, "replayed")
    replies = await service.answer(
        auth(made, "eight"),
        auth(made, "nine", nine_fields=True),
        auth(made, access_id="0" * 32),
        auth(made, access_key="0" * 32),
        auth(made, nine_fields=True, sent_secret="0" * 32),
        auth(revoked, "others"),
        auth(made, "others"),
        auth(made, offset_seconds=-700),
        auth(made, time_stamp="yesterday"),
        auth(made, param="{"),
        auth(made, sign="0" * 32),
        replay,
        replay,
    )
    assert codes(replies) == [
        None,
        None,
        "400_04",
        "400_04",
        "400_04",
        "401_02",
        "400_04",
        "400_05",
        "400_05",
        "400_02",
        "400_04",
        None,
        "400_05",
    ]
    assert codes(await service.answer(replay)) == ["400_05"]


async def test_t1_a_session_stands_in_redis_and_its_successor_is_told(service: SessionHttp, redis: Redis) -> None:
    made, control = await service.admit(), RedisControlStream(redis)
    await control.read(1)
    (first,) = await service.answer(auth(made))
    (second,) = await service.answer(auth(made, offset_seconds=1))
    assert first.session is not None
    assert second.session is not None
    stored = await RedisSessionStore(redis).find([first.session.token, second.session.token])
    assert stored == [None, second.session]
    assert await control.read(500) == [SessionReplaced("1388186", first.session.token)]


async def test_two_vendors_that_race_for_new_sns_never_both_get_one(service: SessionHttp) -> None:
    first, second = await service.admit(), await service.admit()
    sns = [f"sn-{number}" for number in range(20)]
    of_first, of_second = await asyncio.gather(
        service.answer(*(auth(first, sn) for sn in sns)), service.answer(*(auth(second, sn) for sn in sns))
    )
    outcomes = {tuple(sorted(map(str, pair))) for pair in zip(codes(of_first), codes(of_second), strict=True)}
    assert outcomes == {("400_04", "None")}


async def test_rule_8_neither_mongodb_nor_redis_holds_a_secret_in_clear(
    service: SessionHttp, redis: Redis, mongo_settings: MongoSettings
) -> None:
    made = await service.admit()
    call = auth(made)
    await service.answer(call, auth(made, sign="0" * 32))
    async with open_mongo(mongo_settings, "test") as database:
        names = await database.list_collection_names()
        documents = [document for name in names async for document in database[name].find()]
    values = [(await everything_under(redis, key)).encode() for key in await redis.keys()]
    assert {"vendors", "credentials", "devices"} <= set(names)
    assert len(values) >= 4
    at_rest = b"".join([bson.encode({"all": documents}), *values])
    assert made["accessId"].encode() in at_rest
    assert made["accessSecret"].encode() not in at_rest
    assert call.request.sign.encode() not in at_rest
    sealed = next(document["sealedSecret"] for document in documents if "sealedSecret" in document)
    assert Sealer(SealingSettings(keys=SEALING_KEYS).parsed()).open(sealed, made["accessId"]) == made["accessSecret"]


async def test_rule_7_past_the_bound_a_failing_c_auth_is_500_01_and_a_right_one_passes(
    redis_settings: RedisSettings, mongo_settings: MongoSettings
) -> None:
    async with running(redis_settings, mongo_settings, auth_failures_max=2) as service:
        made = await service.admit()
        wrong = auth(made, sign="0" * 32)
        replies = await service.answer(wrong, wrong, wrong)
        replies += await service.answer(wrong, auth(made), auth(made, sign="0" * 32, address="10.0.0.2"))
    assert codes(replies) == ["400_04", "400_04", "500_01", "500_01", None, "400_04"]
    assert replies[3].detail.startswith("too many failed authentications, wait ")


async def test_only_known_devices_where_the_setting_says_so(
    redis_settings: RedisSettings, mongo_settings: MongoSettings
) -> None:
    async with running(redis_settings, mongo_settings) as service:
        made = await service.admit()
        await service.answer(auth(made, "known"))
    async with running(redis_settings, mongo_settings, register_devices="known") as service:
        replies = await service.answer(auth(made, "known", offset_seconds=1), auth(made, "new"))
    assert codes(replies) == [None, "401_02"]


async def test_t1_revoking_ends_the_sessions_and_tells_every_ingress_at_once(
    service: SessionHttp, redis: Redis
) -> None:
    made, control = await service.admit(), RedisControlStream(redis)
    (reply,) = await service.answer(auth(made))
    assert reply.session is not None
    await control.read(1)
    assert await service.revoke(made) == 204
    (entry,) = await control.read(500) or ()
    assert isinstance(entry, CredentialRevoked)
    assert entry.access_id == made["accessId"]
    assert (await RedisEndedStore(redis).load()).covers(reply.session)
    assert codes(await service.answer(auth(made, offset_seconds=1))) == ["401_02"]


async def test_rule_5_a_revocation_that_redis_lost_is_told_again_once(service: SessionHttp, redis: Redis) -> None:
    made, ended = await service.admit(), RedisEndedStore(redis)
    await service.revoke(made)
    await redis.flushall()
    async with asyncio.timeout(5):
        while made["accessId"] not in (await ended.load()).credentials:  # noqa: ASYNC110 -- Redis tells no event
            await asyncio.sleep(0.02)
    await asyncio.sleep(3 * REASSERT_SECONDS)
    assert await redis.xlen(CONTROL_STREAM_KEY) == 1


async def test_a_revocation_while_redis_is_away_is_503_and_told_when_it_is_back(
    redis_settings: RedisSettings, mongo_settings: MongoSettings, redis_part: RedisPart, redis: Redis
) -> None:
    quick = redis_settings.model_copy(update={"timeout_ms": 300})
    async with running(quick, mongo_settings) as service:
        made = await service.admit()
        redis_part.suspend()
        try:
            assert await service.revoke(made) == 503
        finally:
            redis_part.resume()
        async with asyncio.timeout(5):
            while made["accessId"] not in (await RedisEndedStore(redis).load()).credentials:  # noqa: ASYNC110 -- as above
                await asyncio.sleep(0.02)
        assert codes(await service.answer(auth(made))) == ["401_02"]


async def test_t1_a_c_auth_judged_before_its_device_was_disabled_and_opened_after_has_ended(
    service: SessionHttp, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await service.admit()
    await service.answer(auth(made))
    judged, may_open = asyncio.Event(), asyncio.Event()
    open_many = RedisSessionStore.open_many

    async def late(store: RedisSessionStore, new: Sequence[NewSession]) -> Sequence[Session | None]:
        judged.set()
        await may_open.wait()
        return await open_many(store, new)

    with monkeypatch.context() as patched:
        patched.setattr(RedisSessionStore, "open_many", late)
        authenticating = asyncio.ensure_future(service.answer(auth(made, offset_seconds=1)))
        await judged.wait()
        assert await service.change("1388186", disabled=True) == 204
        may_open.set()
        (reply,) = await authenticating
    assert reply.session is not None
    assert (await RedisEndedStore(redis).load()).covers(reply.session)
    assert codes(await service.answer(auth(made, offset_seconds=2))) == ["401_02"]
    # Enabled again, a new C_AUTH counts, and the late one still does not
    assert await service.change("1388186", disabled=False) == 204
    (new,) = await service.answer(auth(made, offset_seconds=3))
    assert new.session is not None
    ended = await RedisEndedStore(redis).load()
    assert (ended.covers(reply.session), ended.covers(new.session)) == (True, False)


async def test_rule_11_a_change_reaches_the_session_that_stands_in_redis(service: SessionHttp, redis: Redis) -> None:
    made, control, sn = await service.admit(timeWindowSeconds=1200), RedisControlStream(redis), "设备/1 %2F"
    (reply,) = await service.answer(auth(made, sn))
    assert reply.session is not None
    assert reply.session.time_window_seconds == 1200
    await control.read(1)
    assert await service.change(sn, siteId="s1", direction="out", timeWindowSeconds=60) == 204
    (session,) = await RedisSessionStore(redis).find([reply.session.token])
    assert session == msgspec.structs.replace(
        reply.session, site_history=(SiteSpan(0, "s1", Direction.OUT),), time_window_seconds=60
    )
    assert await control.read(500) == [DeviceChanged(sn)]
    # The next session says the same, as it comes from MongoDB
    (again,) = await service.answer(auth(made, sn, offset_seconds=1))
    assert again.session is not None
    assert (again.session.site_history, again.session.time_window_seconds) == (session.site_history, 60)
    assert await service.change(sn, timeWindowSeconds=None) == 204
    (session,) = await RedisSessionStore(redis).find([again.session.token])
    assert session is not None
    assert session.time_window_seconds == 1200


async def test_a_device_disabled_while_redis_is_away_is_503_and_told_when_it_is_back(
    redis_settings: RedisSettings, mongo_settings: MongoSettings, redis_part: RedisPart, redis: Redis
) -> None:
    quick = redis_settings.model_copy(update={"timeout_ms": 300})
    async with running(quick, mongo_settings) as service:
        made, control = await service.admit(), RedisControlStream(redis)
        (reply,) = await service.answer(auth(made))
        assert reply.session is not None
        await control.read(1)
        redis_part.suspend()
        try:
            assert await service.change("1388186", disabled=True) == 503
        finally:
            redis_part.resume()
        async with asyncio.timeout(5):
            while not (await RedisEndedStore(redis).load()).covers(reply.session):  # noqa: ASYNC110 -- as above
                await asyncio.sleep(0.02)
        (entry,) = await control.read(500) or ()
        assert isinstance(entry, DeviceDisabled)


async def test_rule_11_a_change_that_redis_did_not_get_settles_by_itself(
    redis_settings: RedisSettings,
    mongo_settings: MongoSettings,
    redis_part: RedisPart,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("session_service.devices.SETTLE_AFTER_MS", 500)
    quick = redis_settings.model_copy(update={"timeout_ms": 300})
    async with running(quick, mongo_settings) as service:
        made = await service.admit()
        (reply,) = await service.answer(auth(made))
        assert reply.session is not None
        redis_part.suspend()
        try:
            assert await service.change("1388186", siteId="s1") == 503
            assert await service.change("nobody", siteId="s1") == 404
        finally:
            redis_part.resume()
        async with asyncio.timeout(5):
            while True:
                (session,) = await RedisSessionStore(redis).find([reply.session.token])
                if session is not None and session.site_history == (SiteSpan(0, "s1", None),):
                    break
                await asyncio.sleep(0.02)
        async with open_mongo(mongo_settings, "test") as database:
            async with asyncio.timeout(5):
                while await database["devices"].find_one({"unsettled": True}) is not None:  # noqa: ASYNC110 -- as above
                    await asyncio.sleep(0.02)


async def test_rule_3_with_redis_hanging_every_call_is_500_01_within_the_deadline_and_passes_afterwards(
    service: SessionHttp, redis_part: RedisPart
) -> None:
    made = await service.admit()
    calls = [auth(made), auth(made, sign="0" * 32), auth(made, access_id="0" * 32)]
    redis_part.suspend()
    try:
        began = time.monotonic()
        replies = await service.answer(*calls)
        took = time.monotonic() - began
    finally:
        redis_part.resume()
    assert codes(replies) == ["500_01"] * 3
    assert took < 3
    # Redis carries out what it got before it hung: by E4 that is a replay, and the next timeStamp passes
    assert codes(await service.answer(auth(made, offset_seconds=1))) == [None]


async def test_rule_12_with_mongodb_hanging_every_call_is_500_01_within_the_deadline(
    redis_settings: RedisSettings, mongo_settings: MongoSettings, mongo_part: MongoPart
) -> None:
    async with running(redis_settings, mongo_settings, request_deadline_seconds=1.0) as service:
        made = await service.admit()
        mongo_part.suspend()
        try:
            began = time.monotonic()
            replies = await service.answer(auth(made), auth(made, sign="0" * 32))
            took = time.monotonic() - began
        finally:
            mongo_part.resume()
        assert codes(replies) == ["500_01"] * 2
        assert took < 2
        assert codes(await service.answer(auth(made))) == [None]


async def test_mongodb_gone_is_500_01_and_back_again_is_served(
    redis_settings: RedisSettings, mongo_settings: MongoSettings, mongo_part: MongoPart
) -> None:
    quick = mongo_settings.model_copy(update={"timeout_ms": 500})
    async with running(redis_settings, quick) as service:
        made = await service.admit()
        mongo_part.kill()
        try:
            assert codes(await service.answer(auth(made))) == ["500_01"]
        finally:
            mongo_part.restart()
        async with asyncio.timeout(10):
            while codes(replies := await service.answer(auth(made))) == ["500_01"]:
                pass  # each answer takes its deadline while the server is away
        assert codes(replies) == [None]
