"""What operators do meanwhile: tasks for one terminal after the other, of which each must end, once."""

import asyncio
import itertools
from collections.abc import Sequence

import aiohttp

from tests.chaos.platform import ChaosPlatform
from tests.support.builders import Vendor

EVERY_SECONDS = 2.0
ANSWER_SECONDS = 10.0
WISHES: tuple[dict[str, object], ...] = (
    {"apicode": "T_POST_DEVICE_PERSON", "excludeFields": ["img"], "push": True},
    {"apicode": "T_CLEAR_DEVICE_PERSON"},
    {"apicode": "T_POST_DEVICE_PERSON", "excludeFields": ["img"]},
)


class Operator:
    """Asks the console by way of its link. Made by open_operator's caller; `close` at the end."""

    def __init__(self, platform: ChaosPlatform) -> None:
        self.promised: list[str] = []
        """Ids of tasks whose making was answered with success."""
        self.refused = 0
        self._session = aiohttp.ClientSession(
            platform.addresses.console,
            headers={"Authorization": f"Bearer {platform.addresses.admin_token}"},
            timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
        )

    async def close(self) -> None:
        """Ends its connections."""
        await self._session.close()

    async def make_vendor(self) -> Vendor:
        """Credentials for terminals."""
        async with self._session.post("/api/v1/vendors", json={"name": "Chaos Gates"}) as answer:
            assert answer.status == 201, await answer.text()
            made = await answer.json()
        return Vendor(made["accessId"], made["accessKey"], made["accessSecret"])

    async def work(self, sns: Sequence[str]) -> None:
        """Makes tasks until it is cancelled; what the platform cannot do now is not done."""
        for wish, sn in zip(itertools.cycle(WISHES), itertools.cycle(sns), strict=False):
            try:
                async with self._session.post("/api/v1/tasks", json={**wish, "sn": sn}) as answer:
                    if answer.status == 201:
                        self.promised += [str(task["taskid"]) for task in (await answer.json())["items"]]
                    else:
                        self.refused += 1
            except (aiohttp.ClientError, TimeoutError):
                self.refused += 1
            await asyncio.sleep(EVERY_SECONDS)

    async def online(self) -> dict[str, bool]:
        """Who is on line, as every device's page shows it. Raises aiohttp.ClientError, TimeoutError."""
        told: dict[str, bool] = {}
        query = {"limit": "200"}
        while True:
            async with self._session.get("/api/v1/devices", params=query) as answer:
                answer.raise_for_status()
                page = await answer.json()
            told |= {device["sn"]: device["online"] for device in page["items"]}
            if page["next"] is None:
                return told
            query["cursor"] = page["next"]
