"""How long it takes until a revoked credential, and a disabled device, is refused on every ingress process (T1).

    make up                             # in one terminal
    .venv/bin/python -m tests.bench.revocation_latency

Measured from the operator's request to the first 401_02 on the last of the connections, over which heartbeats of one
session go without a pause; the connections are spread over all processes.
"""

import argparse
import asyncio
import json
import secrets
import statistics
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.builders import Vendor
from tests.support.revocations import seconds_until_refused
from tests.support.terminal import Terminal, connect

MOST_CONNECTIONS = 64
ALLOWED_SECONDS = 1.0


class Platform:
    """A running stack, and connections to each of its ingress processes."""

    def __init__(self, directory: Path, http: aiohttp.ClientSession) -> None:
        self._directory = directory
        self._http = http
        self._described: dict[str, Any] = json.loads((directory / "stack.json").read_text(encoding="utf-8"))
        self.terminals: list[Terminal] = []

    async def connect(self, stack: AsyncExitStack) -> None:
        """Connects until every ingress process has a connection more than before."""
        host, _, port = self._described["tcp"].rpartition(":")
        before = await self._connections()
        while not all(now > then for now, then in zip(await self._connections(), before, strict=True)):
            if len(self.terminals) == MOST_CONNECTIONS:
                raise SystemExit("some ingress process gets no connection")
            self.terminals.append(await stack.enter_async_context(connect(host, int(port))))

    async def _connections(self) -> list[float]:
        admin = json.loads((self._directory / "admin.json").read_text(encoding="utf-8"))
        counts: list[float] = []
        for url in admin["tcp-ingress"]:
            async with self._http.get(f"{url}/metrics") as answer:
                lines = (await answer.text()).splitlines()
            counts += [float(line.split()[1]) for line in lines if line.startswith("tcp_ingress_connections ")]
        return counts

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """Calls the operators' API."""
        url = f"{self._described['console']}/api/v1{path}"
        headers = {"Authorization": f"Bearer {self._described['adminToken']}"}
        async with self._http.request(method, url, headers=headers, json=body) as answer:
            answer.raise_for_status()
            return await answer.json() if answer.status != 204 else None

    async def tries(self, count: int, cut_off: Callable[[dict[str, str], str], Awaitable[object]]) -> list[float]:
        """Seconds of each try: a session of its own, cut off by `cut_off(credential, sn)`."""
        vendor_id = (await self.ask("POST", "/vendors", {"name": "Revocation bench"}))["vendorId"]
        taken: list[float] = []
        for _ in range(count):
            made = await self.ask("POST", f"/vendors/{vendor_id}/credentials")
            vendor = Vendor(made["accessId"], made["accessKey"], made["accessSecret"])
            sn = f"BENCH{secrets.token_hex(6)}"
            token = await self.terminals[0].authenticate(vendor, sn)

            async def act(made: dict[str, str] = made, sn: str = sn) -> None:
                await cut_off(made, sn)

            taken.append(await seconds_until_refused(self.terminals, vendor.access_secret, sn, token, act))
        return taken

    async def revoke(self, credential: dict[str, str], _sn: str) -> None:
        """Revokes the credential."""
        await self.ask("DELETE", f"/vendors/{credential['vendorId']}/credentials/{credential['accessId']}")

    async def disable(self, _credential: dict[str, str], sn: str) -> None:
        """Disables the device."""
        await self.ask("PATCH", f"/devices/{sn}", {"disabled": True})


def report(name: str, seconds: list[float]) -> None:
    """One line of figures."""
    print(
        f"{name}: {len(seconds)} tries, median {statistics.median(seconds) * 1000:.1f} ms, "
        f"max {max(seconds) * 1000:.1f} ms"
    )


async def measure(directory: Path, count: int) -> list[float]:
    """Measures and prints; gives all figures."""
    async with aiohttp.ClientSession() as http, AsyncExitStack() as stack:
        platform = Platform(directory, http)
        await platform.connect(stack)
        print(f"{len(platform.terminals)} connections over all ingress processes")
        revoked = await platform.tries(count, platform.revoke)
        report("credential revoked", revoked)
        disabled = await platform.tries(count, platform.disable)
        report("device disabled", disabled)
        return revoked + disabled


def main() -> None:
    """Entry of the command; its exit code says whether all were within a second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=100, help="of each kind (default 100)")
    parser.add_argument("--data-dir", type=Path, default=Path(".run"), help="of the running stack (default .run)")
    arguments = parser.parse_args()
    if max(asyncio.run(measure(arguments.data_dir, arguments.tries))) > ALLOWED_SECONDS:
        raise SystemExit("not within a second")


if __name__ == "__main__":
    main()
