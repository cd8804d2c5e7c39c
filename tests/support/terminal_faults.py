"""Faults of terminals and vendors, for tests of alerts: each is there while its context is open."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pymongo

from tests.support.builders import Vendor, make_auth, make_heartbeat, make_sign_in, time_stamp
from tests.support.fault_scene import OK, Scene, meanwhile, new_sn
from tests.support.https_terminal import https_terminal
from tests.support.terminal import Terminal, connect
from tests.support.waiting import eventually

SKEW_SECONDS = 120


@asynccontextmanager
async def a_vendor_signs_wrongly(scene: Scene) -> AsyncIterator[None]:
    _, vendor = await scene.operators.create_vendor()
    sn = new_sn()
    async with connect(*scene.platform.stack.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn)

        async def sign_in() -> None:
            answer = await terminal.ask(make_sign_in(vendor.access_secret, sn, token, signature="0" * 32))
            assert answer.errorcode == "400_04"

        async with meanwhile(sign_in):
            yield


@asynccontextmanager
async def a_vendor_goes_on_with_a_revoked_credential(scene: Scene) -> AsyncIterator[None]:
    vendor_id, vendor = await scene.operators.create_vendor()
    sn = new_sn()
    async with connect(*scene.platform.stack.tcp) as terminal:
        token = await terminal.authenticate(vendor, sn)
        await scene.operators.revoke(vendor_id, vendor.access_id)

        async def beat() -> None:
            answer = await terminal.ask(make_heartbeat(vendor.access_secret, sn, token))
            assert answer.errorcode in (OK, "401_02")

        async with meanwhile(beat):
            yield


@asynccontextmanager
async def clocks_of_a_vendor_are_off(scene: Scene) -> AsyncIterator[None]:
    _, vendor = await scene.operators.create_vendor()
    async with AsyncExitStack() as stack:
        for sn in (new_sn(), new_sn(), new_sn()):
            terminal = await stack.enter_async_context(connect(*scene.platform.stack.tcp))
            token = await terminal.authenticate(vendor, sn)
            answer = await terminal.ask(make_heartbeat(vendor.access_secret, sn, token, stamp=time_stamp(SKEW_SECONDS)))
            assert answer.errorcode == OK
        yield


@asynccontextmanager
async def terminals_of_a_site_leave(scene: Scene) -> AsyncIterator[None]:
    _, vendor = await scene.operators.create_vendor()
    site = await scene.operators.create_site()
    async with connect(*scene.platform.stack.tcp) as staying:
        await come_to(scene, staying, vendor, site)
        for _ in range(2):
            async with connect(*scene.platform.stack.tcp) as leaving:
                await come_to(scene, leaving, vendor, site)
        yield


async def come_to(scene: Scene, terminal: Terminal, vendor: Vendor, site: str) -> None:
    """A terminal is on line at a site."""
    sn = new_sn()
    token = await terminal.authenticate(vendor, sn)
    assert (await scene.operators.change_device(sn, siteId=site))[0] == 200
    assert (await terminal.ask(make_heartbeat(vendor.access_secret, sn, token))).success

    async def is_on_line() -> bool:
        return bool((await scene.operators.get(f"/devices/{sn}"))["online"])

    await eventually(is_on_line, 30)


@asynccontextmanager
async def a_stored_secret_was_altered(scene: Scene) -> AsyncIterator[None]:
    """It is sealed for its owner: another's does not open."""
    stack = scene.platform.stack
    (_, vendor), (_, other) = [await scene.operators.create_vendor() for _ in range(2)]
    with pymongo.MongoClient[dict[str, object]](stack.description["mongo"]) as client:
        credentials = client[stack.description["mongoDatabase"]]["credentials"]
        foreign = credentials.find_one({"_id": other.access_id})
        assert foreign is not None
        credentials.update_one({"_id": vendor.access_id}, {"$set": {"sealedSecret": foreign["sealedSecret"]}})
    async with connect(*stack.tcp) as terminal:
        assert not (await terminal.ask(make_auth(vendor, new_sn()))).success
    yield


@asynccontextmanager
async def a_package_does_not_install(scene: Scene) -> AsyncIterator[None]:
    stack = scene.platform.stack
    _, vendor = await scene.operators.create_vendor()
    sn = new_sn()
    async with connect(*stack.tcp) as tcp:
        token = await tcp.authenticate(vendor, sn)
        async with https_terminal(stack.https, stack.ca, sn, token, vendor.access_secret) as https:
            package = await scene.operators.upload_firmware(sn, b"package")
            await scene.operators.create_campaign(firmwareId=package, sns=[sn], stages=[100])
            command = await tcp.receive(30)
            assert await https.report([str((command.response or {})["taskid"])], 2) == OK
            yield
