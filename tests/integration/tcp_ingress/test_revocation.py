"""Credentials revoked and devices disabled, moved and re-windowed, over the sockets of two ingress processes."""

import asyncio
import json
from typing import Any

import pytest

from shared.stores.redis.client import CONTROL_STREAM_KEY, ENDED_CREDENTIALS_KEY, ENDED_DEVICES_KEY, open_redis
from stack.ports import free_port
from stack.redis_part import RedisPart
from terminal_simulator.wire import Answer
from tests.support.builders import Vendor, make_auth, make_heartbeat, make_sign_in, now_ms, time_stamp
from tests.support.ingress import ingress_process, ready
from tests.support.revocations import seconds_until_refused
from tests.support.terminal import Terminal
from tests.support.topics import read_topic
from tests.support.two_ingresses import Two, refused
from tests.support.waiting import eventually

TRIES = 5
HALF_AN_HOUR_AGO = -1800


async def test_t1_a_revoked_credential_is_refused_on_every_process_within_a_second_and_stays_so(two: Two) -> None:
    for number in range(TRIES):
        vendor_id, vendor = await two.new_vendor()
        sn, secret = f"sn-revoked-{number}", vendor.access_secret
        token = await two.first.authenticate(vendor, sn)

        async def revoke(vendor_id: str = vendor_id, vendor: Vendor = vendor) -> None:
            await two.revoke(vendor_id, vendor)

        assert await seconds_until_refused(two.both, secret, sn, token, revoke) < 1.0
        for terminal in two.both:
            assert refused(await terminal.ask(make_heartbeat(secret, sn, token)), "401_02")
            assert refused(await terminal.ask(make_sign_in(secret, sn, token)), "401_02")
            assert refused(await terminal.ask(make_auth(vendor, sn, stamp=time_stamp(5))), "401_02")


async def test_t1_a_disabled_device_is_refused_everywhere_within_a_second_and_enabled_needs_a_new_c_auth(
    two: Two,
) -> None:
    vendor, secret = two.parts.vendor, two.parts.vendor.access_secret
    for number in range(TRIES):
        sn, other = f"sn-disabled-{number}", f"sn-of-the-same-vendor-{number}"
        token = await two.first.authenticate(vendor, sn)
        others = await two.second.authenticate(vendor, other)

        async def disable(sn: str = sn) -> None:
            await two.change(sn, disabled=True)

        assert await seconds_until_refused(two.both, secret, sn, token, disable) < 1.0
        assert refused(await two.first.ask(make_auth(vendor, sn, stamp=time_stamp(5))), "401_02")
        await two.change(sn, disabled=False)
        for terminal in two.both:
            assert refused(await terminal.ask(make_heartbeat(secret, sn, token)), "401_02")
            assert (await terminal.ask(make_heartbeat(secret, other, others))).success
        answer = await two.second.ask(make_auth(vendor, sn, stamp=time_stamp(10)))
        assert answer.success
        assert answer.response is not None
        for terminal in two.both:
            assert (await terminal.ask(make_heartbeat(secret, sn, answer.response["token"]))).success


async def test_t1_after_a_redis_restart_without_its_data_what_was_revoked_stays_refused(
    two: Two, redis_part: RedisPart
) -> None:
    vendor_id, vendor = await two.new_vendor()
    secret, sn, seen_by_one = vendor.access_secret, "sn-restart", "sn-restart-seen-by-one"
    token = await two.first.authenticate(vendor, sn)
    lone = await two.first.authenticate(vendor, seen_by_one)
    kept = await two.first.authenticate(two.parts.vendor, "sn-restart-kept")

    async def revoke() -> None:
        await two.revoke(vendor_id, vendor)

    await seconds_until_refused(two.both, secret, sn, token, revoke)
    redis_part.kill()
    try:
        # Redis is away: who was held is served for the grace, and who was refused is refused (rules 3, 5)
        for terminal in two.both:
            assert refused(await terminal.ask(make_heartbeat(secret, sn, token)), "401_02")
        kept_heartbeat = make_heartbeat(two.parts.vendor.access_secret, "sn-restart-kept", kept)
        assert (await two.first.ask(kept_heartbeat)).success
    finally:
        redis_part.restart()

    async def is_forgotten(terminal: Terminal, heartbeat: bytes) -> bool:
        return refused(await terminal.ask(heartbeat), "401_01")

    # until each process knows that the control stream is another one
    await eventually(lambda: is_forgotten(two.first, kept_heartbeat))
    await eventually(lambda: is_forgotten(two.second, make_heartbeat(secret, seen_by_one, lone)))
    # Redis knows no token any more. A process that had refused it remembers; to another it is a token like any other.
    for _ in range(2):
        for terminal in two.both:
            assert refused(await terminal.ask(make_heartbeat(secret, sn, token)), "401_02")
        assert refused(await two.first.ask(make_heartbeat(secret, seen_by_one, lone)), "401_02")
        assert refused(await two.first.ask(make_auth(vendor, sn, stamp=time_stamp(5))), "401_02")
        await asyncio.sleep(2.5)  # session has told Redis again by now
    assert (await two.first.ask(make_auth(two.parts.vendor, "sn-restart-kept", stamp=time_stamp(5)))).success


async def test_t1_after_a_redis_failure_that_kept_the_tokens_and_lost_the_endings_what_was_revoked_stays_refused(
    two: Two,
) -> None:
    """As a snapshot of before the revocation would bring it back."""
    vendor_id, vendor = await two.new_vendor()
    secret, sn, disabled = vendor.access_secret, "sn-snapshot", "sn-snapshot-disabled"
    token = await two.first.authenticate(vendor, sn)
    others = await two.second.authenticate(two.parts.vendor, disabled)

    async def revoke() -> None:
        await two.revoke(vendor_id, vendor)
        await two.change(disabled, disabled=True)

    await seconds_until_refused(two.both, secret, sn, token, revoke)
    async with open_redis(two.parts.redis) as redis:
        await redis.delete(ENDED_CREDENTIALS_KEY, ENDED_DEVICES_KEY, CONTROL_STREAM_KEY)
        refusals = 0
        async with asyncio.timeout(10):
            while await redis.exists(ENDED_CREDENTIALS_KEY, ENDED_DEVICES_KEY) < 2:  # until session has told it again
                for terminal in two.both:
                    assert refused(await terminal.ask(make_heartbeat(secret, sn, token)), "401_02")
                    others_heartbeat = make_heartbeat(two.parts.vendor.access_secret, disabled, others)
                    assert refused(await terminal.ask(others_heartbeat), "401_02")
                    refusals += 1
                await asyncio.sleep(0.01)
    assert refusals > 0
    with ingress_process(two.parts, free_port()) as new:
        await ready(new)
        async with new.connect() as terminal:
            assert refused(await terminal.ask(make_heartbeat(secret, sn, token)), "401_02")
            assert refused(await terminal.ask(others_heartbeat), "401_02")


async def test_a_rotation_has_old_and_new_side_by_side_until_the_old_one_is_revoked(two: Two) -> None:
    vendor_id, old = await two.new_vendor()
    made = await two.parts.ask_session("POST", f"/internal/v1/vendors/{vendor_id}/credentials")
    new = Vendor(made["accessId"], made["accessKey"], made["accessSecret"])
    of_old = await two.first.authenticate(old, "sn-old")
    of_new = await two.second.authenticate(new, "sn-new")
    moving = await two.first.authenticate(old, "sn-moving")
    assert (await two.first.ask(make_heartbeat(old.access_secret, "sn-moving", moving))).success
    moved = await two.second.authenticate(new, "sn-moving")
    for terminal in two.both:
        assert (await terminal.ask(make_heartbeat(old.access_secret, "sn-old", of_old))).success
        assert (await terminal.ask(make_heartbeat(new.access_secret, "sn-new", of_new))).success
    await two.revoke(vendor_id, old)
    await asyncio.sleep(1)
    for terminal in two.both:
        assert refused(await terminal.ask(make_heartbeat(old.access_secret, "sn-old", of_old)), "401_02")
        assert (await terminal.ask(make_heartbeat(new.access_secret, "sn-new", of_new))).success
        assert (await terminal.ask(make_heartbeat(new.access_secret, "sn-moving", moved))).success


async def test_f5_a_credential_revoked_in_the_middle_of_a_pipelined_burst_costs_no_answer_and_no_order(
    two: Two,
) -> None:
    """Which requests of the moment of the revocation still pass is open; what was acknowledged is stored all the same,
    and what was refused is not."""
    vendor_id, vendor = await two.new_vendor()
    secret, sn, count = vendor.access_secret, "sn-burst", 2000
    token = await two.first.authenticate(vendor, sn)
    first_ms = now_ms() - count
    apicodes = ["C_SIGN_IN" if number % 10 == 0 else "C_HEARTBEAT" for number in range(count)]
    burst = [
        make_sign_in(secret, sn, token, record_time=first_ms + number)
        if apicode == "C_SIGN_IN"
        else make_heartbeat(secret, sn, token)
        for number, apicode in enumerate(apicodes)
    ]
    revoked = asyncio.Event()

    async def send() -> None:
        for start in range(0, count - 100, 10):
            await two.first.send(*burst[start : start + 10])
            await asyncio.sleep(0.001)
        await revoked.wait()
        await two.first.send(*burst[-100:])

    async def revoke() -> None:
        await two.revoke(vendor_id, vendor)
        await asyncio.sleep(1)
        revoked.set()

    acting = [asyncio.ensure_future(send())]
    answers: list[Answer] = []
    while len(answers) < count:
        answers.append(await two.first.receive())
        if len(answers) == count // 3:
            acting.append(asyncio.ensure_future(revoke()))
    await asyncio.gather(*acting)
    assert [answer.apicode for answer in answers] == apicodes
    assert {answer.errorcode for answer in answers if not answer.success} == {"401_02"}
    assert all(answer.success for answer in answers[: count // 3])
    assert not any(answer.success for answer in answers[-100:])
    acknowledged = {
        first_ms + number for number, answer in enumerate(answers) if answer.success and answer.apicode == "C_SIGN_IN"
    }
    records = await read_topic(two.parts.kafka, "attendance.sign-in.v1")
    stored = [json.loads(got.value)["recordTime"] for got in records if got.key == sn.encode() and got.value]
    assert sorted(stored) == sorted(acknowledged)


@pytest.mark.parametrize("of_device", [True, False])
async def test_rule_14_a_request_outside_the_window_is_400_05_and_inside_a_wider_one_passes(
    two: Two, of_device: bool
) -> None:
    _, vendor = await two.new_vendor(**({} if of_device else {"timeWindowSeconds": 3600}))
    sn, secret = f"sn-window-{of_device}", vendor.access_secret
    token = await two.first.authenticate(vendor, sn)

    async def answers(offset_seconds: int) -> set[tuple[bool, str | None]]:
        message = make_heartbeat(secret, sn, token, stamp=time_stamp(offset_seconds))
        got = [await terminal.ask(message) for terminal in two.both]
        return {(answer.success, None if answer.success else answer.errorcode) for answer in got}

    passes, outside = {(True, None)}, {(False, "400_05")}
    assert await answers(0) == passes
    if of_device:
        assert await answers(HALF_AN_HOUR_AGO) == outside
        await two.change(sn, timeWindowSeconds=3600)
        await asyncio.sleep(0.5)
    assert await answers(HALF_AN_HOUR_AGO) == passes
    assert await answers(2 * HALF_AN_HOUR_AGO - 60) == outside
    # The device's own window stands before its vendor's, for a C_AUTH as well
    await two.change(sn, timeWindowSeconds=900)
    await asyncio.sleep(0.5)
    assert await answers(HALF_AN_HOUR_AGO) == outside
    late = make_auth(vendor, sn, stamp=time_stamp(HALF_AN_HOUR_AGO))
    assert refused(await two.first.ask(late), "400_05")
    await two.change(sn, timeWindowSeconds=None)
    await asyncio.sleep(0.5)
    assert await answers(HALF_AN_HOUR_AGO) == (outside if of_device else passes)


async def test_rule_11_a_running_session_takes_the_new_site_with_it_and_keeps_its_token(two: Two) -> None:
    secret, sn, started = two.parts.vendor.access_secret, "sn-moved", now_ms()
    token = await two.first.authenticate(two.parts.vendor, sn)
    for terminal in two.both:
        assert (await terminal.ask(make_sign_in(secret, sn, token, record_time=started))).success
    await two.change(sn, siteId="s1", direction="in")
    await asyncio.sleep(0.5)
    for number, terminal in enumerate(two.both):
        assert (await terminal.ask(make_sign_in(secret, sn, token, record_time=started + 1 + number))).success
    await two.change(sn, siteId="s2")
    moved_at = now_ms() + 50
    await asyncio.sleep(0.5)
    for number, terminal in enumerate(two.both):
        assert (await terminal.ask(make_sign_in(secret, sn, token, record_time=moved_at + number))).success
        assert (await terminal.ask(make_sign_in(secret, sn, token, record_time=started + 3 + number))).success
    records = await read_topic(two.parts.kafka, "attendance.sign-in.v1")
    events: list[dict[str, Any]] = [json.loads(got.value) for got in records if got.key == sn.encode() and got.value]
    places = {event["recordTime"]: (event["siteId"], event["direction"]) for event in events}
    assert places == {
        started: (None, None),
        started + 1: ("s1", "in"),
        started + 2: ("s1", "in"),
        started + 3: ("s1", "in"),  # uploaded after the move, recorded before it
        started + 4: ("s1", "in"),
        moved_at: ("s2", "in"),
        moved_at + 1: ("s2", "in"),
    }
