"""A terminal at each of two ingress processes, and what is done to vendors and devices meanwhile."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO, NamedTuple

from stack.ports import free_port
from terminal_simulator.wire import Answer
from tests.support.builders import Vendor
from tests.support.ingress import Ingress, Parts, ingress_process, ready
from tests.support.terminal import Terminal


class Two(NamedTuple):
    """A terminal at each of two ingress processes."""

    parts: Parts
    first: Terminal
    second: Terminal
    ingresses: tuple[Ingress, Ingress]

    @property
    def both(self) -> tuple[Terminal, Terminal]:
        """The two terminals."""
        return self.first, self.second

    async def new_vendor(self, **more: object) -> tuple[str, Vendor]:
        """A vendor's id and its credential."""
        made = await self.parts.ask_session("POST", "/internal/v1/vendors", name="Maker", **more)
        return made["vendorId"], Vendor(made["accessId"], made["accessKey"], made["accessSecret"])

    async def revoke(self, vendor_id: str, vendor: Vendor) -> None:
        """Revokes the credential, as the console has it done."""
        await self.parts.ask_session("DELETE", f"/internal/v1/vendors/{vendor_id}/credentials/{vendor.access_id}")

    async def change(self, sn: str, **change: object) -> None:
        """Changes the device likewise."""
        await self.parts.ask_session("PATCH", "/internal/v1/devices", sn=sn, **change)


@asynccontextmanager
async def two_ingresses(
    parts: Parts, first_log: IO[bytes] | None = None, second_log: IO[bytes] | None = None
) -> AsyncIterator[Two]:
    """Two ingress processes with a terminal each."""
    with (
        ingress_process(parts, free_port(), log=first_log) as first,
        ingress_process(parts, free_port(), log=second_log) as second,
    ):
        await ready(first)
        await ready(second)
        async with first.connect() as at_first, second.connect() as at_second:
            yield Two(parts, at_first, at_second, (first, second))


def refused(answer: Answer, code: str) -> bool:
    """Answered with this error code."""
    return not answer.success and answer.errorcode == code
