import hashlib

import pytest

from console_service.person_faces import MAX_UPLOAD_BYTES
from shared.domain.audit import AuditOutcome
from shared.domain.sites import Site
from tests.unit.console_service.parts import NOW_MS, Parts, check_problem
from tests.unit.console_service.test_person_faces import encoded, plain, png_claiming, shown

PNG = encoded(plain(), "PNG")


async def made() -> Parts:
    """A console with a person, 1, at the site s1."""
    parts = Parts()
    await parts.sites.add(Site(site_id="s1", name="Tower", created_at_ms=NOW_MS))
    assert (await parts.ask("PUT", "/persons/1", json_body={"name": "张三", "siteIds": ["s1"]})).status == 201
    parts.roster_marks.marks.clear()
    parts.audit.entries.clear()
    return parts


async def test_a_face_is_stored_shown_marked_and_audited() -> None:
    parts = await made()
    answer = await parts.ask("PUT", "/persons/1/face", body=PNG, headers={"content-type": "text/plain"})
    assert answer.status == 200
    image = await parts.ask("GET", "/persons/1/face")
    assert (image.status, image.headers["content-type"]) == (200, "image/jpeg")
    assert shown(image.body).size == (60, 80)
    digest = hashlib.sha256(image.body).hexdigest()
    assert answer.json()["face"] == {"sha256": digest, "size": len(image.body)}
    assert image.headers["etag"] == f'"{digest}"'
    assert (await parts.ask("GET", "/persons/1")).json() == answer.json()
    assert parts.roster_marks.marks == [(["s1"], 60_000), (["s1"], 0)]
    entry = parts.audit.only()
    assert (entry.action, entry.target, entry.outcome) == ("person.face.put", "1", AuditOutcome.DONE)
    assert entry.what == {"size": len(image.body)}


async def test_who_has_the_face_already_is_not_sent_it_again() -> None:
    parts = await made()
    await parts.ask("PUT", "/persons/1/face", body=PNG)
    etag = (await parts.ask("GET", "/persons/1/face")).headers["etag"]
    again = await parts.ask("GET", "/persons/1/face", headers={"if-none-match": etag})
    assert (again.status, again.body) == (304, b"")
    other = await parts.ask("GET", "/persons/1/face", headers={"if-none-match": '"0"'})
    assert other.status == 200


async def test_the_same_face_again_changes_nothing_and_plans_for_nobody() -> None:
    parts = await made()
    first = (await parts.ask("PUT", "/persons/1/face", body=PNG)).json()
    parts.clock.advance(1000)
    parts.roster_marks.marks.clear()
    assert (await parts.ask("PUT", "/persons/1/face", body=PNG)).json() == first
    assert parts.roster_marks.marks == [(["s1"], 60_000)]


async def test_another_face_takes_the_place_of_the_first() -> None:
    parts = await made()
    first = (await parts.ask("PUT", "/persons/1/face", body=PNG)).json()
    second = (await parts.ask("PUT", "/persons/1/face", body=encoded(plain(30, 30)))).json()
    assert first["face"] != second["face"]
    assert shown((await parts.ask("GET", "/persons/1/face")).body).size == (30, 30)


@pytest.mark.parametrize("body", [b"", b"no picture", PNG[:-30], png_claiming(10_000, 10_000)])
async def test_what_is_no_face_is_a_422_problem_and_nothing_is_changed(body: bytes) -> None:
    parts = await made()
    before = (await parts.ask("PUT", "/persons/1/face", body=PNG)).json()
    parts.audit.entries.clear()
    check_problem(await parts.ask("PUT", "/persons/1/face", body=body), 422)
    assert (await parts.ask("GET", "/persons/1")).json() == before
    assert (await parts.ask("GET", "/persons/1/face")).status == 200
    assert parts.audit.entries == {}


async def test_a_face_may_have_eight_megabytes_and_no_more() -> None:
    parts = await made()
    padded = PNG + bytes(MAX_UPLOAD_BYTES - len(PNG))
    assert (await parts.ask("PUT", "/persons/1/face", body=padded, chunks=5)).status == 200
    check_problem(await parts.ask("PUT", "/persons/1/face", body=padded + b"x", chunks=5), 413)
    announced = {"content-length": str(MAX_UPLOAD_BYTES + 1)}
    check_problem(await parts.ask("PUT", "/persons/1/face", body=b"x", headers=announced), 413)
    check_problem(await parts.ask("PUT", "/persons/1", body=padded), 413)


async def test_a_face_is_taken_away() -> None:
    parts = await made()
    await parts.ask("PUT", "/persons/1/face", body=PNG)
    parts.roster_marks.marks.clear()
    assert (await parts.ask("DELETE", "/persons/1/face")).status == 204
    assert parts.roster_marks.marks == [(["s1"], 60_000), (["s1"], 0)]
    assert await parts.faces.find("1") is None
    assert (await parts.ask("GET", "/persons/1")).json()["face"] is None
    for method in ("GET", "DELETE"):
        assert check_problem(await parts.ask(method, "/persons/1/face"), 404) == "the person has no face"


async def test_what_is_in_the_store_without_being_the_persons_face_is_not_shown() -> None:
    parts = await made()
    await parts.faces.put("1", b"left by an upload that died", "0" * 64)
    check_problem(await parts.ask("GET", "/persons/1/face"), 404)


async def test_the_face_of_who_is_deleted_while_it_is_put_does_not_stay() -> None:
    parts = await made()
    put = parts.faces.put

    async def put_late(person_id: str, data: bytes, sha256: str) -> None:
        await parts.persons.delete(person_id, NOW_MS)
        await put(person_id, data, sha256)

    parts.faces.put = put_late  # type: ignore[method-assign]
    check_problem(await parts.ask("PUT", "/persons/1/face", body=PNG), 404)
    assert await parts.faces.find("1") is None


async def test_a_face_that_is_cut_off_is_a_400_problem_and_nothing_is_changed() -> None:
    parts = await made()
    answer = await parts.ask("PUT", "/persons/1/face", body=PNG[: len(PNG) // 2], cut_off=True)
    assert check_problem(answer, 400) == "the upload was cut off"
    assert (await parts.ask("GET", "/persons/1/face")).status == 404
    assert not parts.audit.entries
