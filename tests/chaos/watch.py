"""Watches processes as a supervisor and a kubelet do: starts again who died, and asks who is ready."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp

from stack.server import Server
from stack.services import HOST, ServicePlan

Say = Callable[[str], None]

WATCH_SECONDS = 0.2
READY_SECONDS = 1.0
READY_TIMEOUT_SECONDS = 1.0
UNREADY_AFTER = 3
"""Failed looks, as a kubelet counts them; a process that is gone is not ready at once."""


@dataclass(frozen=True)
class Death:
    """A process that ended though nobody had ended it."""

    name: str
    exit_code: int | None
    log_tail: str


class Watch:
    """`start`, then `stop`. Who is in `held_down` was ended on purpose and is left alone."""

    def __init__(self, servers: Mapping[str, Server], plans: Mapping[str, ServicePlan], say: Say) -> None:
        self.deaths: list[Death] = []
        self.held_down: set[str] = set()
        self.ready: dict[str, bool] = {}
        self._servers = servers
        self._plans = plans
        self._say = say
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins."""
        self._tasks = [asyncio.ensure_future(self._restart_the_dead()), asyncio.ensure_future(self._ask_ready())]

    async def stop(self) -> None:
        """Nobody is started again any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def is_ready(self, name: str) -> bool:
        """Whether a service's process said so when it was last asked, and lives."""
        return self.ready.get(name, False) and self._servers[name].process.alive

    async def _restart_the_dead(self) -> None:
        """Starts again what died, and remembers it where nobody had ended it."""
        while True:
            for name, server in list(self._servers.items()):
                process = server.process
                if name in self.held_down or process.alive:
                    continue
                self.deaths.append(Death(name, process.exit_code, process.log_tail()))
                self._say(f"!! {name} died by itself, exit code {process.exit_code}; it is started again")
                server.start()
            await asyncio.sleep(WATCH_SECONDS)

    async def _ask_ready(self) -> None:
        failures = dict.fromkeys(self._plans, 0)
        timeout = aiohttp.ClientTimeout(total=READY_TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:

            async def ask(name: str) -> None:
                try:
                    async with session.get(f"http://{HOST}:{self._plans[name].admin_port}/readyz") as answer:
                        is_ready = answer.status == 200
                        failures[name] = 0 if is_ready else UNREADY_AFTER
                except (aiohttp.ClientError, TimeoutError):
                    failures[name] = failures.get(name, 0) + 1
                was_ready = self.ready.get(name, False)
                self.ready[name] = failures[name] == 0 or (was_ready and failures[name] < UNREADY_AFTER)

            while True:
                await asyncio.gather(*map(ask, list(self._plans)))
                await asyncio.sleep(READY_SECONDS)
