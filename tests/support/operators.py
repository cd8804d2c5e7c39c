"""The operators' API as a test uses it, and ids of attendances computed without the platform's code."""

import asyncio
import io
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp

from tests.support.builders import Vendor

EVENT_NAMESPACE = uuid.UUID("b6f3f0a4-5d3e-4f0e-9a86-2d1f6a3c7e51")
STORED_SECONDS = 15.0
LOOK_AGAIN_SECONDS = 0.05


def event_id(sn: str, person_id: str, record_time: int, sign_in_type: int) -> str:
    """UUIDv5 as design rule 2 defines it."""
    return str(uuid.uuid5(EVENT_NAMESPACE, f"{sn}\x1f{person_id}\x1f{record_time}\x1f{sign_in_type}"))


class Operators:
    """An operator with the admin's token."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def create_vendor(self, name: str = "Gate Works", **wishes: object) -> tuple[str, Vendor]:
        """A new vendor: its id and its first credential."""
        async with self._session.post("/api/v1/vendors", json={"name": name, **wishes}) as answer:
            assert answer.status == 201, await answer.text()
            made = await answer.json()
        return made["vendorId"], Vendor(made["accessId"], made["accessKey"], made["accessSecret"])

    async def revoke(self, vendor_id: str, access_id: str) -> None:
        """Revokes a credential."""
        async with self._session.delete(f"/api/v1/vendors/{vendor_id}/credentials/{access_id}") as answer:
            assert answer.status == 204, await answer.text()

    async def create_site(self, name: str = "West Lake Tower") -> str:
        """A new site's id."""
        async with self._session.post("/api/v1/sites", json={"name": name}) as answer:
            assert answer.status == 201, await answer.text()
            return str((await answer.json())["siteId"])

    async def change_device(self, sn: str, **change: object) -> tuple[int, Any]:
        """Changes a device; status and JSON of the answer."""
        async with self._session.patch(f"/api/v1/devices/{quote(sn, safe='')}", json=change) as answer:
            return answer.status, await answer.json(content_type=None)

    async def put_person(self, person_id: str, **wish: object) -> dict[str, Any]:
        """Makes or changes a person; as it is then."""
        async with self._session.put(f"/api/v1/persons/{person_id}", json=wish) as answer:
            assert answer.status in (200, 201), await answer.text()
            return dict(await answer.json())

    async def put_face(self, person_id: str, picture: bytes) -> str:
        """Gives a person a face; its SHA-256 as terminals load it."""
        headers = {"Content-Type": "image/jpeg"}
        async with self._session.put(f"/api/v1/persons/{person_id}/face", data=picture, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return str((await answer.json())["face"]["sha256"])

    async def delete_person(self, person_id: str) -> None:
        """Deletes a person."""
        async with self._session.delete(f"/api/v1/persons/{person_id}") as answer:
            assert answer.status == 204, await answer.text()

    async def reconcile(self, sn: str) -> list[str]:
        """Has a device's roster made good; the ids of the tasks that were made."""
        async with self._session.post(f"/api/v1/devices/{sn}/reconcile") as answer:
            assert answer.status == 200, await answer.text()
            return [str(task["taskid"]) for task in (await answer.json())["items"]]

    async def create_tasks(self, **wish: object) -> list[str]:
        """New tasks; their ids."""
        async with self._session.post("/api/v1/tasks", json=wish) as answer:
            assert answer.status == 201, await answer.text()
            return [str(task["taskid"]) for task in (await answer.json())["items"]]

    async def cancel_task(self, taskid: str) -> tuple[int, Any]:
        """Cancels a task; status and JSON of the answer."""
        async with self._session.post(f"/api/v1/tasks/{taskid}/cancel") as answer:
            return answer.status, await answer.json(content_type=None)

    async def task_states(self, taskid: str) -> list[str]:
        """The states of a task's history."""
        task = await self.get(f"/tasks/{taskid}")
        return [change["state"] for change in task["history"]]

    async def upload_firmware(self, version: str, data: bytes) -> str:
        """A new package's id."""
        form = aiohttp.FormData()
        form.add_field("version", version)
        form.add_field("file", io.BytesIO(data), filename="package.bin")
        async with self._session.post("/api/v1/firmware", data=form) as answer:
            assert answer.status == 201, await answer.text()
            return str((await answer.json())["firmwareId"])

    async def create_campaign(self, **wish: object) -> str:
        """A new campaign's id."""
        async with self._session.post("/api/v1/campaigns", json=wish) as answer:
            assert answer.status == 201, await answer.text()
            return str((await answer.json())["campaignId"])

    async def act_on_campaign(self, campaign_id: str, action: str) -> None:
        """Pauses, resumes, cancels a campaign or rolls it back."""
        async with self._session.post(f"/api/v1/campaigns/{campaign_id}/{action}") as answer:
            assert answer.status == 200, await answer.text()

    async def get(self, path: str, **query: object) -> Any:
        """The JSON under a path of /api/v1; None where there is none (404)."""
        parameters = {name: str(value) for name, value in query.items()}
        async with self._session.get(f"/api/v1{path}", params=parameters) as answer:
            if answer.status == 404:
                return None
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def image(self, event_id: str) -> tuple[str, bytes] | None:
        """Type and bytes of an attendance's picture; None where there is none."""
        async with self._session.get(f"/api/v1/attendance/{event_id}/image") as answer:
            if answer.status == 404:
                return None
            assert answer.status == 200, await answer.text()
            return answer.content_type, await answer.read()

    async def stored(self, event_id: str, *, with_image: bool = False) -> dict[str, Any]:
        """The attendance, waited for. Raises TimeoutError where it (or its picture's link) does not appear."""
        async with asyncio.timeout(STORED_SECONDS):
            while True:
                found: dict[str, Any] | None = await self.get(f"/attendance/{event_id}")
                if found is not None and (found["hasImage"] or not with_image):
                    return found
                await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def attendances_of(self, sn: str) -> list[dict[str, Any]]:
        """All that is stored of a terminal, page by page."""
        items: list[dict[str, Any]] = []
        cursor: dict[str, object] = {}
        while True:
            page = await self.get("/attendance", sn=sn, limit=200, **cursor)
            items += page["items"]
            if page["next"] is None:
                return items
            cursor = {"cursor": page["next"]}


@asynccontextmanager
async def open_operators(console: str, token: str) -> AsyncIterator[Operators]:
    """An operator of the console at a base URL."""
    async with aiohttp.ClientSession(console, headers={"Authorization": f"Bearer {token}"}) as session:
        yield Operators(session)
