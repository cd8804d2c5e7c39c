"""What a terminal is told while one server behind the platform is away (connections refused) or hangs (SIGSTOP), and
how soon all is normal again (design rules 3, 12; E6). docs/degraded-modes.md is this table in words.

The same service processes go through all faults, one after the other. `-s` prints what was measured.
"""

import asyncio
import itertools
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from shared.runtime.settings import MongoSettings
from shared.stores.mongo.attendance import MongoAttendanceStore
from shared.stores.mongo.client import open_mongo
from stack.certificates import load_certificates
from stack.guard import Guard
from stack.http_client import get, post_json
from stack.kafka_part import KafkaPart
from stack.kept_secrets import load_secrets
from stack.mongo_part import MongoPart
from stack.platform import ServiceServer
from stack.process import Process
from stack.redis_part import RedisPart
from stack.server import Server, wait_ready
from stack.services import HOST, Ports, addresses_of, service_plans, shared_environment
from tests.support.builders import Vendor, make_auth, make_heartbeat, make_sign_in, now_ms
from tests.support.operators import event_id
from tests.support.terminal import Terminal, connect
from tests.support.waiting import eventually

DATABASE = "degraded_modes"
DEADLINE_SECONDS = 5.0  # TCP_INGRESS_REQUEST_DEADLINE_SECONDS
LATE_SECONDS = 0.7
BACK_SECONDS = 10.0
QUIET_SECONDS = 2.0
OK, UNAVAILABLE, UNKNOWN = "", "500_01", "401_01"
HELD, UNHELD = "DEG-held", "DEG-unheld"
PERSON = "4508004291609636864"

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Platform:
    """The parts and the service processes over them, by name."""

    servers: dict[str, Server]
    tcp_port: int
    admins: dict[str, str]
    """Admin address of each service process."""
    mongo: MongoSettings
    vendor: Vendor


@pytest.fixture(scope="module")
def platform(
    redis_part: RedisPart,
    mongo_part: MongoPart,
    kafka_part: KafkaPart,
    guard: Guard,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Platform]:
    """One process of each service."""
    directory = tmp_path_factory.mktemp("degraded")
    ports, secrets = Ports.choose({}), load_secrets(directory / "secrets.json")
    certificates = load_certificates(directory / "certificates")
    addresses = addresses_of(
        ports, secrets, certificates, kafka_part.bootstrap, redis_part.url, mongo_part.url, DATABASE
    )
    environment = {"PATH": os.environ["PATH"], **shared_environment(addresses, secrets)}
    for module in ("shared.kafka.topics", "shared.stores.mongo.indexes"):
        subprocess.run([sys.executable, "-m", module], env=environment, check=True)
    plans = service_plans(ports, addresses, secrets, certificates, ingress_processes=1, terminals=0)
    services = {
        plan.service: ServiceServer(
            plan,
            Process(
                plan.name,
                [sys.executable, "-m", plan.module],
                log_file=directory / f"{plan.name}.log",
                guard=guard,
                environment={**environment, **plan.environment},
            ),
        )
        for plan in plans
    }
    parts = {"redis": redis_part, "mongo": mongo_part, "kafka": kafka_part}
    try:
        for service in services.values():
            service.start()
        wait_ready(list(services.values()))
        url = f"http://{HOST}:{ports.session}/internal/v1/vendors"
        made = post_json(url, {"name": "Maker"}, token=secrets.session_token)
        yield Platform(
            {**parts, **services},
            ports.tcp,
            {name: service.admin_url for name, service in services.items()},
            MongoSettings(url=SecretStr(mongo_part.url), database=DATABASE),
            Vendor(made["accessId"], made["accessKey"], made["accessSecret"]),
        )
    finally:
        for service in services.values():
            service.kill()


class Asked:
    """The codes that came as answers to one kind of request, and the slowest of them."""

    def __init__(self) -> None:
        self.codes: set[str] = set()
        self.seconds = 0.0


class Terminals:
    """A terminal whose session the ingress holds, one whose token it does not know, and ever new ones."""

    def __init__(self, vendor: Vendor, kinds: dict[str, Terminal]) -> None:
        self._vendor = vendor
        self._connections = kinds  # one each: an answer that waits must not hold the others up (F5)
        self._token = ""
        self.acknowledged: list[str] = []

    async def be_held(self) -> str:
        """Authenticates the terminal that is held."""
        answer = await self._connections["held C_HEARTBEAT"].ask(make_auth(self._vendor, HELD))
        if answer.success:
            self._token = str((answer.response or {})["token"])
        return answer.errorcode

    async def ask(self, kind: str) -> str:
        """The code of the answer to one request."""
        secret, connection = self._vendor.access_secret, self._connections[kind]
        if kind == "C_AUTH":
            return (await connection.ask(make_auth(self._vendor, f"DEG-{next(_numbers)}"))).errorcode
        if kind == "unheld C_HEARTBEAT":
            return (await connection.ask(make_heartbeat(secret, UNHELD, "0" * 32))).errorcode
        if kind == "held C_HEARTBEAT":
            return (await connection.ask(make_heartbeat(secret, HELD, self._token))).errorcode
        record_time = now_ms()
        answer = await connection.ask(make_sign_in(secret, HELD, self._token, record_time=record_time))
        if answer.success:
            self.acknowledged.append(event_id(HELD, PERSON, record_time, 1))
        return answer.errorcode

    async def ask_all(self) -> dict[str, Asked]:
        """Two rounds of all kinds at once."""
        asked = {kind: Asked() for kind in KINDS}

        async def ask(kind: str) -> None:
            for _ in range(2):
                began = time.monotonic()
                asked[kind].codes.add(await self.ask(kind))
                asked[kind].seconds = max(asked[kind].seconds, time.monotonic() - began)

        await asyncio.gather(*map(ask, KINDS))
        return asked

    async def back_to_normal(self) -> dict[str, float]:
        """When each kind was last answered as it should not be, in seconds from now; returns after a quiet while."""
        began = time.monotonic()
        last = dict.fromkeys(KINDS, 0.0)

        async def watch(kind: str) -> None:
            while time.monotonic() - began < max(last.values()) + QUIET_SECONDS:
                code = await self.ask(kind)
                if code != NORMAL[kind]:
                    last[kind] = time.monotonic() - began
                if kind == "held C_HEARTBEAT" and code == UNKNOWN:
                    # Redis had lost the session, which costs one C_AUTH (design rule 3); not within the second of the
                    # last one, that would be a replay (E4).
                    await asyncio.sleep(1.1)
                    await self.be_held()
                await asyncio.sleep(0.1)

        async with asyncio.timeout(30):
            await asyncio.gather(*map(watch, KINDS))
        return last


KINDS = ("C_AUTH", "held C_HEARTBEAT", "held C_SIGN_IN", "unheld C_HEARTBEAT")
NORMAL = {"C_AUTH": OK, "held C_HEARTBEAT": OK, "held C_SIGN_IN": OK, "unheld C_HEARTBEAT": UNKNOWN}

# What differs from normal while a server is away or hangs.
DEGRADED = {
    "redis": {"C_AUTH": UNAVAILABLE, "unheld C_HEARTBEAT": UNAVAILABLE},
    "kafka": {"held C_SIGN_IN": UNAVAILABLE},
    "mongo": {"C_AUTH": UNAVAILABLE},
    "session": {"C_AUTH": UNAVAILABLE},
    "attendance-writer": {},
}


def codes(expected: dict[str, str]) -> dict[str, set[str]]:
    return {kind: {code} for kind, code in expected.items()}


@asynccontextmanager
async def terminals_of(platform: Platform) -> AsyncIterator[Terminals]:
    async with AsyncExitStack() as stack:
        connections = {kind: await stack.enter_async_context(connect(HOST, platform.tcp_port)) for kind in KINDS}
        terminals = Terminals(platform.vendor, connections)
        assert await terminals.be_held() == OK
        assert {kind: one.codes for kind, one in (await terminals.ask_all()).items()} == codes(NORMAL)
        yield terminals


@pytest.mark.parametrize("mode", ["away", "hangs"])
@pytest.mark.parametrize("name", list(DEGRADED))
async def test_design_12_one_server_gone_costs_what_needs_it_and_nothing_else(
    platform: Platform, name: str, mode: str
) -> None:
    server = platform.servers[name]
    async with terminals_of(platform) as terminals:
        (server.kill if mode == "away" else server.suspend)()
        try:
            asked = await terminals.ask_all()
            for admin in (url for other, url in platform.admins.items() if other != name):
                await asyncio.to_thread(get, f"{admin}/readyz")  # raises where it is not ready
                await asyncio.to_thread(get, f"{admin}/healthz")
        finally:
            (server.start if mode == "away" else server.resume)()
        back = await terminals.back_to_normal()
        stored = await seconds_until_stored(platform.mongo, terminals.acknowledged)
    print(f"\n{name} {mode}:", {kind: (one.codes, round(one.seconds, 2)) for kind, one in asked.items()})
    print("  back after", {kind: round(seconds, 1) for kind, seconds in back.items()}, f"stored after {stored:.1f} s")
    assert {kind: one.codes for kind, one in asked.items()} == codes({**NORMAL, **DEGRADED[name]})
    assert max(one.seconds for one in asked.values()) < DEADLINE_SECONDS + LATE_SECONDS
    assert max(back.values()) < BACK_SECONDS


async def seconds_until_stored(mongo: MongoSettings, event_ids: list[str]) -> float:
    """Until all that was acknowledged is in MongoDB. Raises TimeoutError."""
    assert event_ids
    began = time.monotonic()
    async with open_mongo(mongo, "test") as database:
        store = MongoAttendanceStore(database)

        async def are_stored() -> bool:
            return None not in [await store.find(one) for one in event_ids]

        await eventually(are_stored, 30)
    return time.monotonic() - began
