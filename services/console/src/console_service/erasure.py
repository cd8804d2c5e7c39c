"""Erases what is left of a deleted person in other collections (design rule 10): the face, and of the attendances
everything but their rows. Each step can be done twice; a marker says that it is still to be done."""

import asyncio
import logging

from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import AttendanceStore, Lock
from shared.stores.person_interfaces import FaceStore, PersonStore

log = logging.getLogger(__name__)

AT_ONCE_SECONDS = 5.0
PAGE = 50


class Eraser:
    """Erases persons whose deletion has left a marker."""

    def __init__(self, persons: PersonStore, faces: FaceStore, attendances: AttendanceStore) -> None:
        self._persons = persons
        self._faces = faces
        self._attendances = attendances

    async def erase_at_once(self, person_id: str) -> None:
        """Right after the deletion, for a short while; what does not succeed is left to `work`."""
        try:
            async with asyncio.timeout(AT_ONCE_SECONDS):
                await self._erase(person_id)
        except (Unavailable, TimeoutError) as error:
            log.warning("a deleted person is erased later: %s", error or type(error).__name__)

    async def work(self, lock: Lock) -> None:
        """Erases all that are left, while the lock is held. Raises Unavailable."""
        while left := await self._persons.unerased(PAGE):
            for person_id in left:
                await self._erase(person_id)
                if not await lock.hold():
                    return

    async def _erase(self, person_id: str) -> None:
        await self._faces.delete(person_id)
        await self._attendances.erase_person(person_id)
        await self._persons.erased(person_id)
