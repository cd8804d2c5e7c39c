"""Requests that fuzzing found to be answered as our fault, or taken for what they are not."""

import json
from typing import Any

import pytest

from console_service.cursors import encode_cursor
from shared.domain.devices import Device
from shared.domain.firmware import Firmware
from shared.stores.interfaces import AttendanceQuery
from tests.unit.console_service.parts import Parts, check_problem

LATEST_MS = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z, written out."""


@pytest.mark.parametrize("time_ms", [-1, LATEST_MS + 1, 2**63, 2**70, 10**400])
async def test_a_cursor_of_a_time_that_no_database_can_hold_is_a_400_problem(time_ms: int) -> None:
    parts = Parts()
    query = json.dumps(dict.fromkeys(AttendanceQuery.__struct_fields__) | {"limit": 0})
    position = (time_ms, "x")
    for path, listed in (
        ("/audit", "audit None None None None None"),
        ("/attendance", f"attendance {query.replace(' ', '')}"),
    ):
        right = encode_cursor(listed, (LATEST_MS, "x"))
        assert (await parts.ask("GET", f"{path}?cursor={right}")).status == 200
        check_problem(await parts.ask("GET", f"{path}?cursor={encode_cursor(listed, position)}"), 400)


async def test_a_cursor_longer_than_session_takes_is_a_400_problem() -> None:
    parts = Parts()
    assert (await parts.ask("GET", f"/vendors?cursor={encode_cursor('vendors', ('v' * 64,))}")).status == 200
    check_problem(await parts.ask("GET", f"/vendors?cursor={encode_cursor('vendors', ('v' * 65,))}"), 400)


async def with_a_device_and_a_package() -> tuple[Parts, Firmware]:
    parts = Parts()
    await parts.devices.register([Device(sn="SN1", vendor_id="v1", registered_at_ms=0)])

    async def chunks() -> Any:
        yield b"package"

    return parts, await parts.firmware.add("v1", chunks(), 0)


@pytest.mark.parametrize("expires_at", [True, 1e15, 1e17, 253_402_300_800_000.0, LATEST_MS + 1, 4e12, [], {}])
async def test_a_time_that_is_no_whole_number_or_after_9999_is_a_422_problem(expires_at: object) -> None:
    parts, _ = await with_a_device_and_a_package()
    wishes: dict[str, dict[str, object]] = {
        "/tokens": {"role": "viewer"},
        "/tasks": {"apicode": "T_CLEAR_DEVICE_PERSON", "sn": "SN1"},
    }
    for path, wish in wishes.items():
        for right in (None, LATEST_MS):
            assert (await parts.ask("POST", path, json_body=wish | {"expiresAt": right})).status == 201
        check_problem(await parts.ask("POST", path, json_body=wish | {"expiresAt": expires_at}), 422)


@pytest.mark.parametrize("number", [True, "90", 90.0])
async def test_what_is_no_whole_number_is_not_taken_for_one(number: object) -> None:
    parts, package = await with_a_device_and_a_package()
    campaign = {"firmwareId": package.firmware_id, "sns": ["SN1"], "stages": [100]}
    for method, path, wish, member in (
        ("POST", "/vendors", {"name": "n"}, "timeWindowSeconds"),
        ("PATCH", "/devices/SN1", {}, "timeWindowSeconds"),
        ("POST", "/campaigns", campaign, "successThreshold"),
        ("POST", "/campaigns", campaign, "errorThreshold"),
    ):
        assert (await parts.ask(method, path, json_body={**wish, member: 90})).status in (200, 201)
        check_problem(await parts.ask(method, path, json_body={**wish, member: number}), 422)


@pytest.mark.parametrize("truth", [1, "true", "yes"])
async def test_what_is_no_truth_value_is_not_taken_for_one(truth: object) -> None:
    parts, _ = await with_a_device_and_a_package()
    check_problem(await parts.ask("PATCH", "/devices/SN1", json_body={"disabled": truth}), 422)
    wish = {"apicode": "T_CLEAR_DEVICE_PERSON", "sn": "SN1", "push": truth}
    check_problem(await parts.ask("POST", "/tasks", json_body=wish), 422)


async def test_half_a_character_is_no_text() -> None:
    parts, _ = await with_a_device_and_a_package()
    for member in ('"sn":"%s"', '"siteId":"%s"', '"sn":"SN1","firmwareId":"%s"'):
        body = '{"apicode":"T_UPDATE_DEVICE_VERSION",' + member % r"\ud800" + "}"
        headers = {"content-type": "application/json"}
        check_problem(await parts.ask("POST", "/tasks", body=body.encode(), headers=headers), 422)
    headers = {"content-type": "application/json", "x-requested-with": "console"}
    check_problem(await parts.ask("POST", "/sign-in", body=rb'{"token":"\ud800"}', headers=headers, token=None), 401)


@pytest.mark.parametrize("body", [b"\xff", b"[" * 60_000])
async def test_a_body_that_cannot_be_read_is_a_400_problem(body: bytes) -> None:
    check_problem(await Parts().ask("POST", "/sites", body=body, headers={"content-type": "application/json"}), 400)


async def test_an_import_of_nothing_is_a_422_problem() -> None:
    check_problem(await Parts().ask("POST", "/persons/import", headers={"content-type": "text/csv"}), 422)


@pytest.mark.parametrize("person_id", [".", "..", "...", " ", " . ", "\ufffd", "a\ufffd"])
async def test_a_person_id_that_no_path_holds_as_it_is_is_a_422_problem(person_id: str) -> None:
    parts = Parts()
    check_problem(await parts.ask("PUT", f"/persons/{person_id}", json_body={"name": "n"}), 422)


@pytest.mark.parametrize("person_id", ["a.", ".a", "..a..", "a b", "张三", "%"])
async def test_a_person_id_may_hold_dots_and_spaces_beside_others(person_id: str) -> None:
    parts = Parts()
    assert (await parts.ask("PUT", f"/persons/{person_id}", json_body={"name": "n"})).status == 201


async def test_a_person_of_dots_alone_is_not_imported() -> None:
    body = b"personId,name\n.,x\n..,y\n1,z\n"
    answer = await Parts().ask("POST", "/persons/import", body=body, headers={"content-type": "text/csv"})
    assert (answer.status, answer.json()["imported"], answer.json()["failed"]) == (200, 1, 2)
