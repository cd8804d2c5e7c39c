"""Which faults there are, in their order, and the random pairs of them."""

import asyncio
from collections.abc import Sequence
from random import Random

from tests.chaos import crowds, faults
from tests.chaos.brokers import NODES
from tests.chaos.faults import Fault, Stage
from tests.chaos.proxy import Mode
from tests.chaos.wires import service_links

COPIES = (1, 2)
MEETINGS = (
    faults.kill_while_hanging("tcp-ingress", *[f"kafka-{node}" for node in NODES]),
    faults.kill_while_hanging("attendance-writer", "mongo"),
    faults.hide_brokers_in_turn("attendance-writer"),
)
"""Two things at once that a service which breaks the promise does not survive."""
LATER_SECONDS = 3.0
"""The second of a pair begins up to so much after the first."""


def singles() -> list[Fault]:
    """Every fault, one at a time."""
    return [*_kills(), *_hangs(), *_kafka(), *_cuts(), *_slow(), *MEETINGS, *_others()]


def smoke() -> list[Fault]:
    """A handful, for a few minutes."""
    return [
        faults.kill("tcp-ingress-1"),
        faults.kill("attendance-writer-2"),
        faults.hang("mongo"),
        faults.wire("tcp-ingress", "kafka", Mode.CUT),
        *MEETINGS,
        faults.flush_redis(),
    ]


def named(parts: Sequence[str] | None) -> list[Fault]:
    """Those of all whose name has one of the parts in it; all where there are no parts."""
    return [fault for fault in singles() if not parts or any(part in fault.name for part in parts)]


def pairs(chosen: Sequence[Fault], count: int, seed: int) -> list[Fault]:
    """So many random pairs, the same for the same seed; no two that undo one another."""
    random = Random(seed)
    possible = [
        (first, second)
        for number, first in enumerate(chosen)
        for second in chosen[number + 1 :]
        if not first.touches & second.touches and "everything" not in first.touches | second.touches
    ]
    drawn = random.sample(possible, min(count, len(possible)))
    return [_pair(first, second, random.uniform(0, LATER_SECONDS)) for first, second in drawn]


def _pair(first: Fault, second: Fault, later: float) -> Fault:
    async def act(stage: Stage) -> None:
        async def act_later() -> None:
            await asyncio.sleep(later)
            await second.act(stage)

        await asyncio.gather(first.act(stage), act_later())

    return Fault(
        f"{first.name} + {second.name}",
        act,
        first.touches | second.touches,
        back=first.back + second.back,
        fleet=max(first.fleet, second.fleet) + 10,
        stored=first.stored + second.stored,
        forgets_sessions=first.forgets_sessions or second.forgets_sessions,
    )


def _processes() -> list[str]:
    return [f"{service}-{copy}" for service in service_links() for copy in COPIES]


def _kills() -> list[Fault]:
    return [
        *[faults.kill(f"kafka-{node}", back=10.0) for node in NODES],
        faults.kill("redis", forgets_sessions=True),
        faults.kill("mongo"),
        *[faults.kill(name) for name in _processes()],
    ]


def _hangs() -> list[Fault]:
    return [
        *[faults.hang(f"kafka-{node}", back=10.0) for node in NODES],
        faults.hang("redis"),
        faults.hang("mongo", fleet=90.0),
        *[faults.hang(name) for name in _processes()],
    ]


def _kafka() -> list[Fault]:
    return [
        faults.change_leaders(1),
        faults.lose_two_brokers(1, 2),
        *[faults.isolate(node) for node in NODES],
        crowds.rebalances(),
    ]


def _cuts() -> list[Fault]:
    """Every two parts, by turns refusing and silent; a single broker, too, for those who write and read most."""
    made = []
    for number, (client, server) in enumerate(_links()):
        made.append(faults.wire(client, server, Mode.CUT if number % 2 else Mode.SILENT))
    made += [faults.wire("tcp-ingress", "kafka", Mode.CUT), faults.wire("attendance-writer", "kafka", Mode.SILENT)]
    for client in ("tcp-ingress", "attendance-writer"):
        made += [faults.wire(client, f"kafka-{node}", Mode.SILENT, back=10.0) for node in NODES]
    return made


def _slow() -> list[Fault]:
    return [faults.wire(client, server, Mode.SLOW) for client, server in _links()]


def _links() -> list[tuple[str, str]]:
    services = [(client, server) for client, servers in service_links().items() for server in servers]
    return [*services, ("terminals", "tcp-ingress"), ("terminals", "task-api"), ("operators", "console")]


def _others() -> list[Fault]:
    return [
        faults.fill_disk("kafka-2"),
        faults.fill_disk("mongo"),
        faults.flush_redis(),
        crowds.clocks_off(5),
        crowds.storm(),
        crowds.rolling_restart(),
    ]
