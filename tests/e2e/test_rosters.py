"""An operator says who works at a site, and its terminals hold exactly these: the simulator's terminals against the
whole platform, and what each of them holds compared with what the operator said (T8 to T11)."""

import asyncio
import io
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
from PIL import Image

from terminal_simulator.fleet import Fleet, Plan
from terminal_simulator.habits import Account, Habits
from terminal_simulator.https import read_address
from terminal_simulator.ledger import Ledger
from terminal_simulator.line import Address
from terminal_simulator.signing import ParamStyle, SignForm
from tests.fixtures.stack import RunningStack
from tests.support.builders import Vendor
from tests.support.operators import Operators
from tests.support.waiting import eventually

RELIABLE = Habits(
    heartbeat_seconds=1,
    sign_ins_per_minute=0,
    page_size=2,
    failed_share=0,
    unsupported_share=0,
    failed_persons_share=0,
    failed_faces_share=0,
    straying_share=0,
    lost_share=0,
)
REPORT = "T_POST_DEVICE_PERSON"


@dataclass
class Site:
    """A site, its terminals, and who is to work there."""

    site_id: str
    fleet: Fleet
    operators: Operators
    should_hold: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    """Name and SHA-256 of the face by person."""

    @property
    def sns(self) -> list[str]:
        return [terminal.sn for terminal in self.fleet.terminals]

    async def put(self, person_id: str, name: str, colour: str | None = None) -> None:
        await self.operators.put_person(person_id, name=name, siteIds=[self.site_id])
        _, face = self.should_hold.get(person_id, ("", None))
        if colour is not None:
            face = await self.operators.put_face(person_id, picture_of(colour))
        self.should_hold[person_id] = (name, face)

    def hold(self) -> list[dict[str, tuple[str, str | None]]]:
        """What each of its terminals holds."""
        return [
            {
                person_id: (held.name, held.face.sha256 if held.face else None)
                for person_id, held in terminal.holdings.persons.items()
            }
            for terminal in self.fleet.terminals
        ]

    def is_right(self) -> bool:
        return all(one == self.should_hold for one in self.hold())

    async def is_known_to_be_right(self) -> bool:
        return all([differences(await self.roster(sn)) == NO_DIFFERENCE for sn in self.sns])

    async def roster(self, sn: str) -> dict[str, object]:
        roster: dict[str, object] = await self.operators.get(f"/devices/{sn}/roster")
        return roster

    async def report(self) -> None:
        """Has every terminal say whom it holds."""
        made = await self.operators.create_tasks(
            apicode=REPORT, siteId=self.site_id, push=True, excludeFields=["idcardNo", "phone"]
        )
        assert len(made) == len(self.sns)

        async def are_done() -> bool:
            return {(await self.operators.task_states(taskid))[-1] for taskid in made} == {"done"}

        await eventually(are_done)


NO_DIFFERENCE: tuple[object, ...] = ([], [], [], [], [])


def differences(roster: dict[str, object]) -> tuple[object, ...]:
    return tuple(roster[name] for name in ("missing", "extra", "different", "failed", "openTasks"))


def picture_of(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (120, 160), colour).save(file, "JPEG")
    return file.getvalue()


@asynccontextmanager
async def site(
    stack: RunningStack, operators: Operators, vendor: Vendor, *, terminals: int = 2, habits: Habits = RELIABLE
) -> AsyncIterator[Site]:
    """A new site with terminals at work."""
    plan = Plan(
        Address(*stack.tcp),
        Account(vendor.access_id, vendor.access_key, vendor.access_secret),
        habits,
        terminals=terminals,
        start_spread_seconds=0,
        sn_prefix=f"E2ER{secrets.token_hex(4)}",
        https=read_address(stack.https, ssl.create_default_context(cafile=stack.ca)),
    )
    fleet, stop = Fleet(plan, Ledger(None)), asyncio.Event()
    running = asyncio.create_task(fleet.run(stop))
    try:
        made = Site(await operators.create_site(), fleet, operators)
        await eventually(lambda: fleet.tally.online == terminals)
        for sn in made.sns:
            assert (await operators.change_device(sn, siteId=made.site_id))[0] == 200
        yield made
    finally:
        stop.set()
        await running
    assert fleet.tally.wrong_signatures == 0


def workers(count: int) -> list[str]:
    run = secrets.token_hex(4)
    return [f"W{run}-{number}" for number in range(count)]


async def test_terminals_hold_whom_the_site_has_and_follow_every_change(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor
) -> None:
    async with site(platform_stack, operators, vendor) as place:
        first, second, third, *others = ids = workers(5)
        for number, person_id in enumerate(ids):
            await place.put(person_id, f"工人 {number}", "red" if number else None)
        await eventually(place.is_right)
        await eventually(place.is_known_to_be_right)

        await place.put(first, "改名")
        before = place.should_hold[second][1]
        await place.put(second, place.should_hold[second][0], "blue")
        assert place.should_hold[second][1] not in (before, None)
        await eventually(place.is_right)

        await operators.delete_person(third)
        await operators.put_person(others[0], name="工人 3", siteIds=[])
        del place.should_hold[third], place.should_hold[others[0]]
        await eventually(place.is_right)
        await eventually(place.is_known_to_be_right)

        assert (await operators.change_device(place.sns[0], siteId=None))[0] == 200
        await eventually(lambda: place.hold() == [{}, place.should_hold])


@pytest.mark.parametrize(
    ("style", "form"),
    [(ParamStyle.STRICT, SignForm.SORTED), (ParamStyle.LOOSE, SignForm.AS_SENT)],
    ids=["sorted", "loose"],
)
async def test_t11_a_report_shows_what_a_terminal_holds_wrongly_and_a_reconcile_repairs_it(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor, style: ParamStyle, form: SignForm
) -> None:
    habits = replace(RELIABLE, straying_share=1.0, style=style, form=form)
    async with site(platform_stack, operators, vendor, habits=habits) as place:
        for number, person_id in enumerate(workers(5)):
            await place.put(person_id, f"工人 {number}", "green" if number else None)
        await eventually(place.is_right)
        await eventually(place.is_known_to_be_right)

        await place.report()
        assert place.fleet.tally.strayed == 2
        for sn, held in zip(place.sns, place.hold(), strict=True):
            assert len(held.keys() ^ place.should_hold.keys()) == 2
            shown = await place.roster(sn)
            assert shown["complete"] is True
            assert shown["missing"] == sorted(place.should_hold.keys() - held.keys())
            assert shown["extra"] == sorted(held.keys() - place.should_hold.keys())
            assert shown["different"] == [
                {"personId": one, "fields": ["name"]}
                for one in sorted(held.keys() & place.should_hold.keys())
                if held[one][0] != place.should_hold[one][0]
            ]

        for sn in place.sns:
            assert len(await operators.reconcile(sn)) == 1
        await eventually(place.is_right)
        await eventually(place.is_known_to_be_right)


async def test_3_2_whom_a_terminal_could_not_take_is_shown_with_its_code(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor
) -> None:
    habits = replace(RELIABLE, failed_faces_share=1.0)
    async with site(platform_stack, operators, vendor, terminals=1, habits=habits) as place:
        (person_id,) = workers(1)
        await place.put(person_id, "张三", "white")

        async def has_failed() -> bool:
            failed = (await place.roster(place.sns[0]))["failed"]
            return isinstance(failed, list) and [one["code"] for one in failed] == ["404_1"]

        await eventually(has_failed)
        assert place.hold() == [{person_id: ("张三", None)}]
        shown = await place.roster(place.sns[0])
        assert shown["different"] == [{"personId": person_id, "fields": ["hasImg"]}]


async def test_terminals_that_fail_tasks_and_lose_answers_end_equal_to_their_site(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor
) -> None:
    habits = replace(RELIABLE, failed_share=0.4, lost_share=0.2, straying_share=0.5)
    async with site(platform_stack, operators, vendor, terminals=4, habits=habits) as place:

        async def are_right() -> bool:
            for sn in place.sns:
                await operators.reconcile(sn)  # else what failed waits for a minute at least
            await asyncio.sleep(0.3)
            return place.is_right()

        first, *others = workers(6)
        for colour in ("black", "white"):
            for person_id in (first, *others):
                await place.put(person_id, "工人", colour)
            await eventually(are_right, seconds=90)
        await operators.delete_person(first)
        del place.should_hold[first]
        await eventually(are_right, seconds=60)
        assert place.fleet.tally.answers_lost > 0
        assert place.fleet.tally.tasks_reported["failed"] > 0


async def test_t10_a_campaign_s_package_is_what_terminals_say_they_run(
    platform_stack: RunningStack, operators: Operators, vendor: Vendor
) -> None:
    async with site(platform_stack, operators, vendor) as place:
        version = f"2.4.{secrets.token_hex(4)}"
        firmware_id = await operators.upload_firmware(version, secrets.token_bytes(700_000))
        campaign_id = await operators.create_campaign(firmwareId=firmware_id, siteIds=[place.site_id], stages=[50, 100])

        async def is_installed() -> bool:
            shown = [await operators.get(f"/devices/{sn}") for sn in place.sns]
            return {one["deviceVersion"] for one in shown} == {version}

        await eventually(is_installed)

        async def is_complete() -> bool:
            return bool((await operators.get(f"/campaigns/{campaign_id}"))["state"] == "completed")

        await eventually(is_complete)
        assert place.fleet.tally.packages_installed == 2
