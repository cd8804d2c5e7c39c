import asyncio

import pytest

from console_service import erasure
from console_service.erasure import Eraser
from shared.domain.audit import AuditOutcome
from shared.domain.sites import Site
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import StoredPicture
from shared.stores.memory_tasks import MemoryLock
from tests.support.attendance import JPEG, make_event, with_picture
from tests.unit.console_service.parts import NOW_MS, Parts, check_problem
from tests.unit.console_service.test_person_faces_routes import PNG

EVENT = with_picture(make_event(person_id="1", temperature=36.7))


async def made() -> Parts:
    """A console with a person, 1, at the sites s1 and s2, who has a face and passed once."""
    parts = Parts()
    for site_id in ("s1", "s2"):
        await parts.sites.add(Site(site_id=site_id, name="Tower", created_at_ms=NOW_MS))
    assert (await parts.ask("PUT", "/persons/1", json_body={"name": "张三", "siteIds": ["s1", "s2"]})).status == 201
    assert (await parts.ask("PUT", "/persons/1/face", body=PNG)).status == 200
    picture = StoredPicture(
        event_id=EVENT.event_id, sn=EVENT.sn, content_type="image/jpeg", data=JPEG, received_at_ms=NOW_MS
    )
    await parts.memory.picture_store.add_many([picture])
    await parts.attendances.add_many([EVENT])
    parts.roster_marks.marks.clear()
    parts.audit.entries.clear()
    return parts


def eraser_of(parts: Parts) -> Eraser:
    return Eraser(parts.persons, parts.faces, parts.attendances)


async def test_design_10_a_person_is_deleted_everywhere_and_the_row_of_its_attendance_stays() -> None:
    parts = await made()
    answer = await parts.ask("DELETE", "/persons/1")
    assert (answer.status, answer.body) == (204, b"")
    check_problem(await parts.ask("GET", "/persons/1"), 404)
    assert (await parts.ask("GET", "/persons")).json()["items"] == []
    assert await parts.faces.find("1") is None
    shown = (await parts.ask("GET", f"/attendance/{EVENT.event_id}")).json()
    assert (shown["personId"], shown["hasImage"], shown["erased"]) == ("1", False, True)
    assert shown["temperature"] is None
    problem = check_problem(await parts.ask("GET", f"/attendance/{EVENT.event_id}/image"), 404)
    assert problem == "the picture was erased with the person"
    assert list(await parts.persons.unerased(9)) == []
    assert parts.roster_marks.marks == [(["s1", "s2"], 60_000), (["s1", "s2"], 0)]
    entry = parts.audit.only()
    assert (entry.action, entry.target, entry.outcome) == ("person.delete", "1", AuditOutcome.DONE)
    assert (entry.before, entry.after) == ({"siteIds": ["s1", "s2"]}, None)


async def test_deleting_again_is_a_404_problem_and_the_person_can_be_put_again() -> None:
    parts = await made()
    await parts.ask("DELETE", "/persons/1")
    check_problem(await parts.ask("DELETE", "/persons/1"), 404)
    answer = await parts.ask("PUT", "/persons/1", json_body={"name": "李四"})
    assert (answer.status, answer.json()["face"], answer.json()["siteIds"]) == (201, None, [])
    assert (await parts.ask("GET", f"/attendance/{EVENT.event_id}")).json()["erased"] is True


async def test_an_attendance_of_who_is_not_deleted_says_that_it_is_not_erased() -> None:
    parts = await made()
    assert (await parts.ask("GET", f"/attendance/{EVENT.event_id}")).json()["erased"] is False
    assert (await parts.ask("GET", f"/attendance/{EVENT.event_id}/image")).status == 200


@pytest.mark.parametrize("step", ["faces", "attendances", "persons"])
async def test_design_10_what_a_fault_leaves_is_erased_by_the_background_work(step: str) -> None:
    parts = await made()
    method = {"faces": "delete", "attendances": "erase_person", "persons": "erased"}[step]
    store = getattr(parts, step)

    async def fail(_person_id: str) -> None:
        raise Unavailable("MongoDB: AutoReconnect")

    setattr(store, method, fail)
    assert (await parts.ask("DELETE", "/persons/1")).status == 204
    assert list(await parts.persons.unerased(9)) == ["1"]
    check_problem(await parts.ask("PUT", "/persons/1", json_body={"name": "李四"}), 503)
    delattr(store, method)
    await eraser_of(parts).work(MemoryLock())
    assert list(await parts.persons.unerased(9)) == []
    assert await parts.faces.find("1") is None
    assert (await parts.ask("GET", f"/attendance/{EVENT.event_id}")).json()["erased"] is True


async def test_what_takes_too_long_is_left_to_the_background_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "AT_ONCE_SECONDS", 0.01)
    parts = await made()

    async def hang(_person_id: str) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(parts.attendances, "erase_person", hang)
    assert (await parts.ask("DELETE", "/persons/1")).status == 204
    assert list(await parts.persons.unerased(9)) == ["1"]


async def test_the_background_work_goes_through_all_that_are_left_while_it_holds_the_lock() -> None:
    parts = Parts()
    for number in range(120):
        await parts.ask("PUT", f"/persons/{number}", json_body={"name": "张三"})
        await parts.persons.delete(str(number), NOW_MS)

    class LostLock(MemoryLock):
        async def hold(self) -> bool:
            return False

    await eraser_of(parts).work(LostLock())
    assert len(await parts.persons.unerased(999)) == 119
    await eraser_of(parts).work(MemoryLock())
    assert list(await parts.persons.unerased(999)) == []


async def test_without_the_mark_before_it_nobody_is_deleted() -> None:
    parts = await made()
    parts.roster_marks.available = False
    check_problem(await parts.ask("DELETE", "/persons/1"), 503)
    assert "1" in await parts.persons.find(["1"])
    assert parts.audit.only().outcome is AuditOutcome.INTENDED
