"""What is stored, as the console shows it: the one way from outside to look into MongoDB."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0
REQUEST_SECONDS = 5.0
STORED, NOT_YET = "200", "404"


class Storage:
    """Asks the console for one sign-in after the other."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def appears(self, event_id: str, deadline: float) -> bool:
        """True as soon as it is stored, False where it is not by the deadline, which is of the loop's clock."""
        pause, told = FIRST_PAUSE_SECONDS, ""
        try:
            async with asyncio.timeout_at(deadline):
                while True:
                    found = await self._look(event_id)
                    if found == STORED:
                        return True
                    if found not in (NOT_YET, told):
                        log.warning("the console cannot tell: %s", found)
                        told = found
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        except TimeoutError:
            return False

    async def _look(self, event_id: str) -> str:
        """The status of the answer, or what was instead of one."""
        try:
            async with self._http.get(f"/api/v1/attendance/{event_id}") as answer:
                return str(answer.status)
        except TimeoutError:
            return "TimeoutError"
        except aiohttp.ClientError as error:
            return type(error).__name__


@asynccontextmanager
async def open_storage(console_url: str, token: str) -> AsyncIterator[Storage]:
    """The console at a base URL, asked as the viewer whose token it is."""
    headers = {"Authorization": f"Bearer {token}"}
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    async with aiohttp.ClientSession(console_url, headers=headers, timeout=timeout) as http:
        yield Storage(http)
