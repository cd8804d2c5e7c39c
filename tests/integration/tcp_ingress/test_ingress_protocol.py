"""What a terminal meets at the ingress, over real sockets: answers, errors in E2's order, and records in Kafka."""

import asyncio
import hashlib
import json
import uuid

import pytest
from redis.asyncio import Redis

from shared.domain.events import SENSITIVE_TOPIC, SIGN_IN_TOPIC
from terminal_simulator.wire import Answer, encode_frame
from tests.support.builders import make_auth, make_heartbeat, make_request, make_sign_in, now_ms, time_stamp
from tests.support.ingress import Ingress, Parts, running_ingress
from tests.support.terminal import Terminal
from tests.support.topics import read_topic

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 100


async def records_of(parts: Parts, topic: str, sn: str) -> list[tuple[dict[str, bytes], bytes]]:
    """Headers and value of each record of a device, in order."""
    return [
        (dict(got.headers), bytes(got.value or b""))
        for got in await read_topic(parts.kafka, topic)
        if got.key == sn.encode()
    ]


async def refusal(terminal: Terminal, message: bytes, within_seconds: float) -> Answer:
    """The first refusal of a message that is accepted until something becomes known."""
    async with asyncio.timeout(within_seconds):
        while True:
            answer = await terminal.ask(message)
            if not answer.success:
                return answer
            await asyncio.sleep(0.01)


async def test_m7_a_terminal_authenticates_beats_and_signs_in(ingress: Ingress, parts: Parts) -> None:
    secret, sn, record_time = parts.vendor.access_secret, "sn-basic", now_ms() - 5000
    async with ingress.connect() as terminal:
        token = await terminal.authenticate(parts.vendor, sn)
        assert len(token) == 32

        beat = await terminal.ask(make_heartbeat(secret, sn, token))
        assert (beat.success, beat.apicode, beat.version, beat.response) == (True, "C_HEARTBEAT", "v1.0.0", {})

        sign_in = await terminal.ask(
            make_sign_in(
                secret,
                sn,
                token,
                person_id="worker-1",
                record_time=record_time,
                picture=JPEG,
                extra={"irisInfo": "iris", "temperature": "36.70", "ceshi": {"a.b": 1}},
            )
        )
        assert (sign_in.success, sign_in.apicode, sign_in.response, sign_in.error) == (True, "C_SIGN_IN", None, None)

    namespace = uuid.UUID("b6f3f0a4-5d3e-4f0e-9a86-2d1f6a3c7e51")
    event_id = str(uuid.uuid5(namespace, f"{sn}\x1fworker-1\x1f{record_time}\x1f1"))
    [(headers, value)] = await records_of(parts, SIGN_IN_TOPIC, sn)
    event = json.loads(value)
    assert headers["ce_id"].decode() == event["eventId"] == event_id
    assert (event["personId"], event["recordTime"], event["type"]) == ("worker-1", record_time, 1)
    assert event["temperature"] == 36.7
    assert event["image"] == {
        "sha256": hashlib.sha256(JPEG).hexdigest(),
        "size": len(JPEG),
        "contentType": "image/jpeg",
    }
    for sensitive in (b"iris", b"ceshi", JPEG[:64]):
        assert sensitive not in value
    [(picture_headers, picture), (_, details)] = await records_of(parts, SENSITIVE_TOPIC, sn)
    assert picture == JPEG
    assert (picture_headers["ce_type"], picture_headers["ce_datacontenttype"]) == (b"picture", b"image/jpeg")
    assert picture_headers["ce_id"].decode() == event_id
    assert json.loads(details)["irisInfo"] == "iris"
    assert json.loads(json.loads(details)["extra"]) == {"ceshi": {"a.b": 1}}


async def test_m2_both_layouts_of_c_auth_are_accepted(ingress: Ingress, parts: Parts) -> None:
    async with ingress.connect() as terminal:
        first = await terminal.authenticate(parts.vendor, "sn-eight")
        second = await terminal.authenticate(parts.vendor, "sn-nine", nine_fields=True)
    assert first != second


async def test_design_2_the_same_sign_in_twice_has_the_same_id(ingress: Ingress, parts: Parts) -> None:
    secret, sn = parts.vendor.access_secret, "sn-twice"
    async with ingress.connect() as terminal:
        token = await terminal.authenticate(parts.vendor, sn)
        message = make_sign_in(secret, sn, token)
        assert (await terminal.ask(message)).success
        assert (await terminal.ask(message)).success
    records = await records_of(parts, SIGN_IN_TOPIC, sn)
    assert len(records) == 2
    assert len({headers["ce_id"] for headers, _ in records}) == 1


async def test_f3_a_picture_of_2_9_mb_passes(ingress: Ingress, parts: Parts) -> None:
    secret, sn = parts.vendor.access_secret, "sn-large"
    picture = b"\xff\xd8\xff\xe0" + hashlib.shake_128(b"picture").digest(2_900_000)
    async with ingress.connect() as terminal:
        token = await terminal.authenticate(parts.vendor, sn)
        assert (await terminal.ask(make_sign_in(secret, sn, token, picture=picture))).success
    [(_, stored)] = await records_of(parts, SENSITIVE_TOPIC, sn)
    assert stored == picture


@pytest.mark.parametrize("apicode", ["C_HEARTBEAT", "C_SIGN_IN"])
async def test_e2_each_error_is_found_before_the_next(ingress: Ingress, parts: Parts, apicode: str) -> None:
    """Every request carries the fault named and all faults that come later in E2's order."""
    secret, sn, unknown = parts.vendor.access_secret, f"sn-{apicode}", "0" * 32
    late = {"stamp": "20200101000000", "signature": "0" * 32}
    loose = "not json"
    async with ingress.connect() as terminal:
        token = await terminal.authenticate(parts.vendor, sn)

        def request(**changes: str) -> bytes:
            values = {"sn": sn, "token": token, "apicode": apicode, "param": "{}", **changes}
            return make_request(secret, **values)

        faults = [
            (
                "400_01",
                "C_SIGN_OUT",
                {"apicode": "C_SIGN_OUT", "sn": "s" * 65, "token": unknown, "param": loose, **late},
            ),
            ("400_01", "T_GET_TASKS", {"apicode": "T_GET_TASKS", "sn": "s" * 65, "token": unknown, **late}),
            ("400_01", "C_AUTH", {"apicode": "C_AUTH", "sn": "s" * 65, "token": unknown, **late}),
            ("400_01", "", {"apicode": "", "sn": "s" * 65, "token": unknown, **late}),
            ("400_02", apicode, {"sn": "s" * 65, "token": unknown, "param": loose, **late}),
            ("400_02", apicode, {"sn": "", "token": unknown, "param": loose, **late}),
            ("401_01", apicode, {"token": unknown, "param": loose, **late}),
            ("400_04", apicode, {"sn": "another", "param": loose, **late}),
            ("400_05", apicode, {"param": loose, **late}),
            ("400_05", apicode, {"param": loose, "stamp": "2026-11-24 08:0", "signature": "0" * 32}),
            ("400_05", apicode, {"param": loose, "stamp": time_stamp(-660), "signature": "0" * 32}),
            ("400_02", apicode, {"param": loose, "signature": "0" * 32}),
            ("400_04", apicode, {"signature": "0" * 32}),
        ]
        if apicode == "C_SIGN_IN":
            faults.append(("400_02", apicode, {"param": '{"personId":"p","type":1}'}))
        for code, echoed, changes in faults:
            answer = await terminal.ask(request(**changes))
            assert (answer.errorcode, answer.apicode, answer.success) == (code, echoed, False), changes

        # the connection and the session went through all of it unharmed
        assert (await terminal.ask(make_heartbeat(secret, sn, token))).success


async def test_e2_errors_of_c_auth_come_through_from_the_session_service(ingress: Ingress, parts: Parts) -> None:
    vendor = parts.vendor
    async with ingress.connect() as terminal:
        for code, message in [
            ("400_02", make_auth(vendor, "s" * 65, access_id="unknown")),
            ("400_04", make_auth(vendor, "sn-1", access_id="unknown", stamp="bad")),
            ("400_04", make_auth(vendor, "sn-1", access_key="wrong", stamp="bad")),
            ("400_04", make_auth(vendor, "sn-1", nine_fields=True, sent_secret="wrong", stamp="bad")),
            ("400_05", make_auth(vendor, "sn-1", stamp="20200101000000", param="not json")),
            ("400_02", make_auth(vendor, "sn-1", param="not json", signature="0" * 32)),
            ("400_04", make_auth(vendor, "sn-1", signature="0" * 32)),
        ]:
            assert (await terminal.ask(message)).errorcode == code
        message = make_auth(vendor, "sn-1")
        assert (await terminal.ask(message)).success
        assert (await terminal.ask(message)).errorcode == "400_05"  # a replay (E4)


async def test_e1_a_revoked_credential_answers_401_02_within_a_second(ingress: Ingress, parts: Parts) -> None:
    vendor, sn = await parts.new_vendor(), "sn-revoked"
    listed = await parts.ask_session("GET", "/internal/v1/vendors?limit=100")
    [vendor_id] = [
        item["vendorId"]  # type: ignore[index]  # items are objects, not texts
        for item in listed["items"]
        if item["credentials"][0]["accessId"] == vendor.access_id  # type: ignore[index]  # as above
    ]
    async with ingress.connect() as terminal:
        token = await terminal.authenticate(vendor, sn)
        assert (await terminal.ask(make_heartbeat(vendor.access_secret, sn, token))).success
        await parts.ask_session("DELETE", f"/internal/v1/vendors/{vendor_id}/credentials/{vendor.access_id}")
        answer = await refusal(terminal, make_heartbeat(vendor.access_secret, sn, token), within_seconds=1)
        assert answer.errorcode == "401_02"
        # before the clock and the sign are looked at (E2)
        answer = await terminal.ask(make_sign_in(vendor.access_secret, sn, token, stamp="bad", signature="0" * 32))
        assert answer.errorcode == "401_02"


async def test_e3_a_400_05_tells_the_servers_time(ingress: Ingress, parts: Parts) -> None:
    async with ingress.connect() as terminal:
        token = await terminal.authenticate(parts.vendor, "sn-clock")
        answer = await terminal.ask(
            make_heartbeat(parts.vendor.access_secret, "sn-clock", token, stamp=time_stamp(3600))
        )
    assert answer.errorcode == "400_05"
    assert time_stamp()[:11] in answer.errmsg


async def test_f5_a_heartbeat_behind_an_unfinished_sign_in_waits(parts: Parts) -> None:
    secret, sn = parts.vendor.access_secret, "sn-order"
    # sign-ins gather for long, so that the heartbeat behind one is certainly done first
    async with running_ingress(parts, commit_gather_ms=400) as ingress, ingress.connect() as terminal:
        token = await terminal.authenticate(parts.vendor, sn)
        await terminal.send(
            make_heartbeat(secret, sn, token), make_sign_in(secret, sn, token), make_heartbeat(secret, sn, token)
        )
        assert (await terminal.receive(0.3)).apicode == "C_HEARTBEAT"
        with pytest.raises(TimeoutError):
            await terminal.receive(0.1)
        assert (await terminal.receive()).apicode == "C_SIGN_IN"
        assert (await terminal.receive()).apicode == "C_HEARTBEAT"


async def test_f6_64_frames_and_many_more_in_one_write_are_all_answered_in_order(
    ingress: Ingress, parts: Parts
) -> None:
    secret, sn = parts.vendor.access_secret, "sn-many"
    async with ingress.connect() as terminal:
        token = await terminal.authenticate(parts.vendor, sn)
        for count in (64, 300):
            messages = [
                make_sign_in(secret, sn, token, record_time=now_ms() - n)
                if n % 3
                else make_heartbeat(secret, sn, token, version=f"v{n}")
                for n in range(count)
            ]
            await terminal.send(*messages)
            answers = [await terminal.receive() for _ in range(count)]
            assert all(answer.success for answer in answers)
            assert [answer.apicode for answer in answers] == [
                "C_SIGN_IN" if n % 3 else "C_HEARTBEAT" for n in range(count)
            ]
            assert [a.version for a in answers[::3]] == [f"v{n}" for n in range(0, count, 3)]


async def test_f2_frames_split_at_every_byte_are_understood(ingress: Ingress, parts: Parts) -> None:
    secret, sn = parts.vendor.access_secret, "sn-split"
    async with ingress.connect() as terminal:
        token = await terminal.authenticate(parts.vendor, sn)
        for byte in encode_frame(make_heartbeat(secret, sn, token)):
            await terminal.send_raw(bytes((byte,)))
            await asyncio.sleep(0)
        assert (await terminal.receive()).success


async def test_f4_a_half_close_still_gets_its_answers(ingress: Ingress, parts: Parts) -> None:
    secret, sn = parts.vendor.access_secret, "sn-half-close"
    async with ingress.connect() as terminal:
        token = await terminal.authenticate(parts.vendor, sn)
        await terminal.send(
            *(make_sign_in(secret, sn, token, record_time=now_ms() - n) for n in range(100)),
            make_heartbeat(secret, sn, token),
        )
        terminal.send_no_more()
        answers = [await terminal.receive() for _ in range(101)]
        assert all(answer.success for answer in answers)
        assert answers[-1].apicode == "C_HEARTBEAT"
        assert await terminal.closed_by_peer()


async def test_f4_an_empty_frame_is_400_01_and_the_connection_stays(ingress: Ingress, parts: Parts) -> None:
    async with ingress.connect() as terminal:
        answer = await terminal.ask(b"")
        assert (answer.errorcode, answer.version) == ("400_01", "v1.0.0")
        await terminal.authenticate(parts.vendor, "sn-empty")


async def test_f7_a_gateway_carries_two_devices_on_one_connection(ingress: Ingress, parts: Parts) -> None:
    secret = parts.vendor.access_secret
    async with ingress.connect() as gateway:
        first = await gateway.authenticate(parts.vendor, "sn-gateway-1")
        second = await gateway.authenticate(parts.vendor, "sn-gateway-2")
        assert (await gateway.ask(make_heartbeat(secret, "sn-gateway-1", first))).success
        assert (await gateway.ask(make_heartbeat(secret, "sn-gateway-2", second))).success
        assert (await gateway.ask(make_heartbeat(secret, "sn-gateway-2", first))).errorcode == "400_04"
        assert (await gateway.ask(make_sign_in(secret, "sn-gateway-1", first))).success
    # the session is the device's, not the connection's
    async with ingress.connect() as other:
        assert (await other.ask(make_heartbeat(secret, "sn-gateway-1", first))).success


async def calls_by_command(redis: Redis) -> dict[str, int]:
    """How often Redis was asked for each command, by anybody."""
    return {name: stat["calls"] for name, stat in (await redis.info("commandstats")).items()}


async def test_design_4_a_heartbeat_of_a_held_session_costs_no_redis_command(ingress: Ingress, parts: Parts) -> None:
    secret, sn, heartbeats = parts.vendor.access_secret, "sn-held", 400
    redis = Redis.from_url(parts.redis.url.get_secret_value())
    try:
        async with ingress.connect() as terminal:
            token = await terminal.authenticate(parts.vendor, sn)
            assert (await terminal.ask(make_heartbeat(secret, sn, token))).success
            before = await calls_by_command(redis)
            for _ in range(heartbeats):
                assert (await terminal.ask(make_heartbeat(secret, sn, token))).success
            after = await calls_by_command(redis)
        # What the background does once a second or while it waits: presence, control stream, the session service.
        assert max(calls - before.get(name, 0) for name, calls in after.items()) < heartbeats / 10
    finally:
        await redis.aclose()


async def test_t1_accepted_requests_prolong_the_token_in_redis(ingress: Ingress, parts: Parts) -> None:
    secret, sn = parts.vendor.access_secret, "sn-renewed"
    redis = Redis.from_url(parts.redis.url.get_secret_value())
    try:
        async with ingress.connect() as terminal:
            token = await terminal.authenticate(parts.vendor, sn)
            [key] = await redis.keys("session:*")
            await asyncio.sleep(1.5)  # C_AUTH is an accepted request too
            await redis.pexpire(key, 60_000)
            assert not (await terminal.ask(make_heartbeat(secret, sn, token, signature="0" * 32))).success
            await asyncio.sleep(1.5)
            assert await redis.pttl(key) <= 60_000  # what was refused prolongs nothing
            assert (await terminal.ask(make_heartbeat(secret, sn, token))).success
            await asyncio.sleep(1.5)
            assert await redis.pttl(key) > 29 * 60_000
    finally:
        await redis.aclose()


async def test_t1_a_token_replaced_elsewhere_is_refused_and_a_session_opened_elsewhere_is_known(parts: Parts) -> None:
    secret, sn = parts.vendor.access_secret, "sn-moves"
    async with running_ingress(parts) as first, running_ingress(parts) as second:  # noqa: SIM117 (opened in turn)
        async with first.connect() as here, second.connect() as there:
            old = await here.authenticate(parts.vendor, sn)
            assert (await there.ask(make_heartbeat(secret, sn, old))).success
            await asyncio.sleep(1)  # a second C_AUTH within one second would be the same bytes, a replay (E4)
            new = await there.authenticate(parts.vendor, sn)
            answer = await refusal(here, make_heartbeat(secret, sn, old), within_seconds=1)
            assert answer.errorcode == "401_01"
            assert (await there.ask(make_heartbeat(secret, sn, old))).errorcode == "401_01"
            assert (await here.ask(make_heartbeat(secret, sn, new))).success


async def test_design_7_terminals_that_come_at_once_authenticate_in_groups(ingress: Ingress, parts: Parts) -> None:
    async def join(number: int) -> str:
        async with ingress.connect() as terminal:
            return await terminal.authenticate(parts.vendor, f"sn-group-{number}")

    tokens = await asyncio.gather(*(join(number) for number in range(200)))
    assert len(set(tokens)) == 200
    assert (await ingress.metrics())["tcp_ingress_auth_groups_total"] < 60
