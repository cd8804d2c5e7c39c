"""The faults: each does its harm, waits, and heals it; its bounds say when all is well again, on a quiet machine."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import redis.asyncio as redis

from tests.chaos.brokers import NODES
from tests.chaos.fleet import Fleet
from tests.chaos.platform import ChaosPlatform
from tests.chaos.proxy import Mode
from tests.support.builders import Vendor

LEAVE_SECONDS = 60.0
RESTART_SECONDS = 90.0
HELD_SECONDS = 2.0
HIDDEN_SECONDS = 4.0


@dataclass
class Stage:
    """What a fault may touch, and how long it is to last."""

    platform: ChaosPlatform
    fleet: Fleet
    vendor: Vendor
    hang_seconds: float = 30.0
    away_seconds: float = 5.0
    cut_seconds: float = 8.0
    patience: float = 1.0
    guests: list[Fleet] = field(default_factory=list)
    """Fleets that came for one fault; their ledgers are reckoned too."""
    broken: list[str] = field(default_factory=list)
    """What a fault itself found to be wrong."""


Act = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """One fault and the bounds of what follows its healing, in seconds."""

    name: str
    act: Act
    touches: frozenset[str]
    """Of a pair neither may undo what the other does."""
    back: float = 5.0
    """Until a request over a new connection succeeds, and every one after it."""
    fleet: float = 30.0
    """Until every terminal is on line and has caught up: they have grown patient in an outage."""
    stored: float = 20.0
    """Until what was acknowledged is in MongoDB."""
    forgets_sessions: bool = False
    """Redis loses its memory: terminals are told 401_01, once (design rule 3)."""


def kill(name: str, **bounds: float | bool) -> Fault:
    """SIGKILL; a service's process is started again by its supervisor, a part after a while."""

    async def act(stage: Stage) -> None:
        stage.platform.kill(name)
        await asyncio.sleep(0.5 if name in stage.platform.plans else stage.away_seconds)
        stage.platform.bring_back(name)

    return fault(f"kill {name}", act, name, **bounds)


def hang(name: str, **bounds: float | bool) -> Fault:
    """SIGSTOP and SIGCONT: connections are accepted by the kernel, and nothing is answered."""

    async def act(stage: Stage) -> None:
        server = stage.platform.servers[name]
        server.suspend()
        try:
            await asyncio.sleep(stage.hang_seconds)
        finally:
            server.resume()

    return fault(f"hang {name}", act, name, **bounds)


def wire(client: str, server: str, mode: Mode, **bounds: float | bool) -> Fault:
    """A link between two parts, in one of its modes."""

    async def act(stage: Stage) -> None:
        links = stage.platform.wires.between(client, server)
        for link in links:
            link.mode = mode
        try:
            await asyncio.sleep(stage.cut_seconds)
        finally:
            for link in links:
                link.mode = Mode.OPEN

    return fault(f"{mode.value}: {client} to {server}", act, client, server, **bounds)


def isolate(node: int) -> Fault:
    """One broker and its controller out of the others' sight; clients still see it."""

    async def act(stage: Stage) -> None:
        links = stage.platform.wires.around_broker(node)
        for link in links:
            link.mode = Mode.SILENT
        try:
            await asyncio.sleep(stage.cut_seconds)
        finally:
            for link in links:
                link.mode = Mode.OPEN

    return fault(f"isolate kafka-{node}", act, "kafka-1", "kafka-2", "kafka-3", back=15.0)


def change_leaders(node: int) -> Fault:
    """SIGTERM: the broker hands its partitions over, and takes them back later."""

    async def act(stage: Stage) -> None:
        name = f"kafka-{node}"
        stage.platform.ask_to_stop(name)
        await stage.platform.wait_gone(name, LEAVE_SECONDS)
        stage.platform.bring_back(name)

    return fault(f"leaders leave kafka-{node}", act, f"kafka-{node}")


def lose_two_brokers(first: int, second: int) -> Fault:
    """Neither a quorum nor two replicas: nothing can be acknowledged."""

    async def act(stage: Stage) -> None:
        names = [f"kafka-{first}", f"kafka-{second}"]
        for name in names:
            stage.platform.kill(name)
        await asyncio.sleep(3 * stage.away_seconds)
        for name in names:
            stage.platform.bring_back(name)

    return fault(
        f"two of three brokers away ({first}, {second})", act, *broker_names(), back=30.0, fleet=45.0, stored=60.0
    )


def fill_disk(part: str) -> Fault:
    """Its store is full for a while. It may die of that or live on in panic: it is started again when there is room."""

    async def act(stage: Stage) -> None:
        platform = stage.platform
        platform.may_die(part)
        await asyncio.to_thread(platform.stores.fill, part)
        await asyncio.sleep(2 * stage.away_seconds)
        await asyncio.to_thread(platform.stores.free, part)
        platform.kill(part)
        platform.bring_back(part)

    return fault(f"full disk of {part}", act, part, back=10.0, stored=40.0)


def kill_while_hanging(service: str, *parts: str) -> Fault:
    """What is known to a service alone dies with it: parts hang, all its processes are killed, the parts go on."""

    async def act(stage: Stage) -> None:
        platform = stage.platform
        for part in parts:
            platform.servers[part].suspend()
        try:
            await asyncio.sleep(HELD_SECONDS)
            for name in platform.names(service):
                platform.kill(name)
        finally:
            for part in parts:
                platform.servers[part].resume()
        for name in platform.names(service):
            platform.bring_back(name)

    what = parts[0].partition("-")[0]
    return fault(
        f"kill {service} while {what} hangs", act, *parts, f"{service}-1", f"{service}-2", back=15.0, stored=30.0
    )


def hide_brokers_in_turn(client: str) -> Fault:
    """The client does not hear one broker after the other: what belongs together arrives apart."""

    async def act(stage: Stage) -> None:
        for node in NODES:
            links = stage.platform.wires.between(client, f"kafka-{node}")
            for link in links:
                link.mode = Mode.SILENT
            try:
                await asyncio.sleep(HIDDEN_SECONDS)
            finally:
                for link in links:
                    link.mode = Mode.OPEN

    return fault(f"{client} hears one broker after the other late", act, client, *broker_names(), stored=30.0)


def flush_redis() -> Fault:
    """Everything that Redis knew is gone."""

    async def act(stage: Stage) -> None:
        async with redis.Redis.from_url(stage.platform.addresses.redis) as client:
            await client.flushall()

    return fault("flush redis", act, "redis", forgets_sessions=True)


def fault(name: str, act: Act, *touches: str, **bounds: float | bool) -> Fault:
    """A fault that touches these; bounds are members of Fault."""
    return Fault(name, act, frozenset(touches), **bounds)  # type: ignore[arg-type]  # bounds are Fault's own members


def broker_names() -> list[str]:
    """All three."""
    return [f"kafka-{node}" for node in NODES]
