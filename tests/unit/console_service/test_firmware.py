import hashlib
import tempfile
from collections.abc import Collection
from typing import Any

import pytest

from shared.domain.audit import AuditOutcome
from shared.domain.firmware import Firmware
from shared.domain.operators import Role
from tests.support.asgi import Answer
from tests.support.multipart import MULTIPART, field, file, form
from tests.unit.console_service.parts import Parts, check_problem

DATA = b"\x7fELF" + bytes(range(256)) * 20
SHA256 = hashlib.sha256(DATA).hexdigest()


async def upload(parts: Parts, body: bytes, **options: Any) -> Answer:
    options.setdefault("headers", MULTIPART)
    return await parts.ask("POST", "/firmware", body=body, **options)


def package(version: str = "v2", data: bytes = DATA) -> bytes:
    return form(field("version", version), file("file", data))


async def stored(parts: Parts) -> list[str]:
    return [one["version"] for one in (await parts.ask("GET", "/firmware")).json()["items"]]


async def test_a_package_is_stored_byte_for_byte_and_answered_with_its_hash() -> None:
    parts = Parts()
    answer = await upload(parts, package())
    assert answer.status == 201, answer.body
    made = answer.json()
    assert made == {
        "firmwareId": made["firmwareId"],
        "version": "v2",
        "size": len(DATA),
        "sha256": SHA256,
        "createdAt": "2026-11-24T07:00:00.000Z",
    }
    assert b"".join([part async for part in parts.firmware.read(made["firmwareId"], 0, len(DATA))]) == DATA
    assert (await parts.ask("GET", "/firmware")).json() == {"items": [made], "next": None}


@pytest.mark.parametrize("chunks", [2, 7, 50])
async def test_a_form_may_come_in_any_pieces_and_its_parts_in_any_order(chunks: int) -> None:
    parts = Parts()
    answer = await upload(parts, form(file("file", DATA), field("version", "v2")), chunks=chunks)
    assert (answer.status, answer.json()["sha256"]) == (201, SHA256)


async def test_a_large_package_lies_on_the_disk_and_not_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    rolled: list[int] = []
    rollover = tempfile.SpooledTemporaryFile.rollover

    def remember(self: Any) -> None:
        rolled.append(self.tell())
        rollover(self)

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", remember)
    parts = Parts()
    large = DATA * 500
    assert (await upload(parts, package(data=large), chunks=40)).json()["size"] == len(large)
    assert len(rolled) == 1
    assert rolled[0] <= 1_500_000


async def test_the_audit_has_an_upload_with_its_hash() -> None:
    parts = Parts()
    made = (await upload(parts, package())).json()
    entry = parts.audit.only()
    assert (entry.action, entry.target, entry.outcome) == ("firmware.upload", made["firmwareId"], AuditOutcome.DONE)
    assert entry.what == entry.after == {"version": "v2", "size": len(DATA), "sha256": SHA256}


async def test_the_same_package_again_is_the_one_that_is_there() -> None:
    parts = Parts()
    first = await upload(parts, package())
    again = await upload(parts, package())
    assert (again.status, again.json()) == (200, first.json())
    assert await stored(parts) == ["v2"]
    assert len(parts.audit.entries) == 1


async def test_other_bytes_of_the_same_version_are_a_409_problem() -> None:
    parts = Parts()
    await upload(parts, package())
    assert check_problem(await upload(parts, package(data=DATA + b"x")), 409) == (
        "there is another package of this version"
    )
    assert await stored(parts) == ["v2"]
    assert sorted(entry.outcome for entry in parts.audit.entries.values()) == ["done", "refused"]


async def test_an_upload_that_is_cut_off_leaves_nothing() -> None:
    parts = Parts()
    body = package(data=DATA * 500)
    check_problem(await upload(parts, body[: len(body) // 2], cut_off=True), 400)
    assert await stored(parts) == []
    assert parts.audit.entries == {}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (form(field("version", "v2"), file("file", b"")), 422),
        (form(field("version", "v2")), 422),
        (form(file("file", DATA)), 422),
        (form(field("version", "v2"), field("file", "text")), 400),
        (form(file("version", b"v2"), field("file", "text")), 422),
        (package(""), 422),
        (package("v" * 65), 422),
        (package(" v2"), 422),
        (package("v\t2"), 422),
        (package("v2\x00"), 422),
        (package("v" * 2000), 400),
        (form(field("version", "v2"), file("file", DATA), file("more", DATA)), 400),
        (form(field("version", "v2"), field("more", "x"), file("file", DATA)), 400),
        (package()[:200], 422),
        (b"", 422),
        (b"no form at all", 400),
    ],
)
async def test_a_form_that_is_none_of_a_package_is_a_problem_and_stores_nothing(body: bytes, status: int) -> None:
    parts = Parts()
    check_problem(await upload(parts, body), status)
    assert await stored(parts) == []


@pytest.mark.parametrize("content_type", ["application/octet-stream", "application/x-www-form-urlencoded", ""])
async def test_what_is_no_form_is_a_415_problem(content_type: str) -> None:
    check_problem(await upload(Parts(), DATA, headers={"content-type": content_type}), 415)


@pytest.mark.parametrize("content_type", ["multipart/form-data", f"{MULTIPART['content-type']}; charset=undefined"])
async def test_a_form_without_a_boundary_or_of_no_charset_is_a_problem(content_type: str) -> None:
    check_problem(await upload(Parts(), package(), headers={"content-type": content_type}), 400)


async def test_an_upload_may_be_as_large_as_the_setting_says_and_no_larger() -> None:
    parts = Parts(max_firmware_bytes=100_000)
    assert (await upload(parts, package(data=b"x" * 99_000), chunks=10)).status == 201
    too_large = package("v3", b"x" * 100_000)
    check_problem(await upload(parts, too_large, chunks=10), 413)
    announced = {**MULTIPART, "content-length": str(len(too_large))}
    check_problem(await upload(parts, too_large, headers=announced), 413)
    assert await stored(parts) == ["v2"]


@pytest.mark.parametrize(("role", "status"), [(Role.VIEWER, 403), (Role.OPERATOR, 403), (Role.ADMIN, 201)])
async def test_admins_upload_and_everybody_looks(role: Role, status: int) -> None:
    parts = Parts()
    token = await parts.make_token(role)
    assert (await upload(parts, package(), token=token)).status == status
    assert (await parts.ask("GET", "/firmware", token=token)).status == 200


async def test_nobody_without_a_token_makes_the_console_read_an_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_args: object, **_options: object) -> None:
        raise AssertionError("the form was read")

    monkeypatch.setattr("starlette.requests.Request.form", forbid)
    check_problem(await upload(Parts(), package(), token=None), 401)


async def test_of_two_uploads_of_one_version_at_once_the_later_is_a_409_problem() -> None:
    parts = Parts()
    real = parts.firmware.of_versions

    async def meanwhile(versions: Collection[str]) -> dict[str, Firmware]:
        parts.firmware.of_versions = real  # type: ignore[method-assign]  # once
        found = await real(versions)
        assert (await upload(parts, package(data=DATA + b"x"))).status == 201
        return found

    parts.firmware.of_versions = meanwhile  # type: ignore[method-assign]  # another upload comes in between
    assert "came first" in check_problem(await upload(parts, package()), 409)
    assert await stored(parts) == ["v2"]


async def test_uploads_beyond_the_bound_are_a_503_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console_service.routes.firmware.MAX_UPLOADS", 1)
    parts = Parts()
    inside: list[Answer] = []
    real = parts.firmware.of_versions

    async def meanwhile(versions: Collection[str]) -> dict[str, Firmware]:
        inside.append(await upload(parts, package("v3")))
        return await real(versions)

    parts.firmware.of_versions = meanwhile  # type: ignore[method-assign]  # another upload comes in between
    assert (await upload(parts, package())).status == 201
    check_problem(inside[0], 503)
    assert await stored(parts) == ["v2"]


async def test_packages_are_listed_in_the_order_of_their_uploads_and_paged() -> None:
    parts = Parts()
    for number in range(3):
        parts.clock.advance(1)
        await upload(parts, package(f"v{number}"))
    first = (await parts.ask("GET", "/firmware?limit=2")).json()
    assert [one["version"] for one in first["items"]] == ["v0", "v1"]
    second = (await parts.ask("GET", f"/firmware?limit=2&cursor={first['next']}")).json()
    assert ([one["version"] for one in second["items"]], second["next"]) == (["v2"], None)
    check_problem(await parts.ask("GET", "/firmware?cursor=nonsense"), 400)


async def test_a_store_that_is_away_is_a_503_problem() -> None:
    parts = Parts()
    parts.firmware.available = False
    check_problem(await upload(parts, package()), 503)
    check_problem(await parts.ask("GET", "/firmware"), 503)
