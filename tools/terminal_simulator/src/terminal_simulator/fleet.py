"""All terminals of a run: started apart in time, reported on, and ended so that no answer under way is lost."""

import asyncio
import sys
import time
from dataclasses import dataclass
from random import Random

from terminal_simulator.habits import Account, Habits
from terminal_simulator.https import HttpsAddress
from terminal_simulator.ledger import Ledger
from terminal_simulator.line import Address, Line
from terminal_simulator.report import json_line, readable_line, summary
from terminal_simulator.tally import Tally
from terminal_simulator.terminal import Terminal

READABLE_EVERY_SECONDS = 5.0
LAST_ANSWERS_SECONDS = 3.0
LAST_ANSWERS_LOOKS = 100
REFUSED_ARE_ENOUGH = 10


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run consists of."""

    address: Address
    account: Account
    habits: Habits
    terminals: int = 50
    seconds: float = 0.0
    """0: until it is stopped."""
    start_spread_seconds: float = 5.0
    sn_prefix: str = "SIM"
    seed: int | None = None
    report_json_lines: bool = False
    https: HttpsAddress | None = None
    """Where tasks are fetched; None: they are only counted."""


class CredentialsRefused(Exception):
    """No terminal could authenticate; the text gives the platform's reason."""


class Fleet:
    """The terminals of one run and what they count together."""

    def __init__(self, plan: Plan, ledger: Ledger) -> None:
        self.tally = Tally()
        self._plan = plan
        self._random = Random(plan.seed)
        self._started = time.time()
        self.terminals = [
            Terminal(
                sn=f"{plan.sn_prefix}{number:05d}",
                account=plan.account,
                habits=plan.habits,
                tally=self.tally,
                ledger=ledger,
                random=Random(self._random.getrandbits(64)),
                now=self._started,
            )
            for number in range(1, plan.terminals + 1)
        ]

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until the time is over or `stop` is set. Raises CredentialsRefused where no terminal gets in."""
        lines = [asyncio.create_task(self._start(terminal)) for terminal in self.terminals]
        watch = asyncio.create_task(self._watch())
        stopped = asyncio.create_task(stop.wait())
        try:
            limit = self._plan.seconds or None
            # neither the watch nor a line ends by itself but with an exception, which must not stay unseen
            await asyncio.wait((watch, stopped, *lines), timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            await self._let_answers_arrive()
        finally:
            for task in (watch, stopped, *lines):
                task.cancel()
            outcomes = await asyncio.gather(watch, stopped, *lines, return_exceptions=True)
            for terminal in self.terminals:
                terminal.connection_lost()
                terminal.close_books()
            self._say(json_line(self.tally) if self._plan.report_json_lines else self._summary())
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def _start(self, terminal: Terminal) -> None:
        await asyncio.sleep(self._random.uniform(0, self._plan.start_spread_seconds))
        await Line(terminal, self._plan.address, self._plan.https, self.tally, self._random).run()

    async def _watch(self) -> None:
        every = 1.0 if self._plan.report_json_lines else READABLE_EVERY_SECONDS
        next_line = time.monotonic() + 1.0  # the first one soon: it tells whether the address and credentials are right
        while True:
            await asyncio.sleep(min(1.0, max(0.0, next_line - time.monotonic())))
            self._end_if_nobody_gets_in()
            if time.monotonic() >= next_line:
                next_line += every
                self._say(
                    json_line(self.tally)
                    if self._plan.report_json_lines
                    else readable_line(self.tally, self._plan.terminals, time.time() - self._started)
                )

    def _end_if_nobody_gets_in(self) -> None:
        if self.tally.authentications:
            return
        refusals = [terminal.refusal for terminal in self.terminals if terminal.refusal is not None]
        if len(refusals) >= min(REFUSED_ARE_ENOUGH, len(self.terminals)):
            reason = refusals[0]
            raise CredentialsRefused(
                f"the platform refuses C_AUTH: {reason.errorcode} {reason.errmsg}. "
                "Check the access id, key and secret, and that the vendor is active."
            )

    async def _let_answers_arrive(self) -> None:
        """Nothing new is sent; what is under way gets a moment, so that few sign-ins end unanswered."""
        for terminal in self.terminals:
            terminal.leaving = True
        for _ in range(LAST_ANSWERS_LOOKS):
            if not any(terminal.has_unanswered() for terminal in self.terminals):
                break
            await asyncio.sleep(LAST_ANSWERS_SECONDS / LAST_ANSWERS_LOOKS)

    def _summary(self) -> str:
        return summary(self.tally, self._plan.terminals, time.time() - self._started)

    def _say(self, text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
