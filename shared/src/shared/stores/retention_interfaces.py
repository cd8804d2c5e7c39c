"""What the console's retention asks of a store. Every method may raise Unavailable, as in interfaces.py."""

from typing import Protocol

import msgspec

from shared.domain.retention import Kept


class Floor(msgspec.Struct, frozen=True, kw_only=True):
    """The floor of what is kept, and that below which all was deleted already; 0 where there is none."""

    floor_ms: int = 0
    swept_ms: int = 0


class RetentionStore(Protocol):
    """`retention`: floors, which only rise. The stores of attendances and pictures store nothing anew below them: a
    picture by when it was received, an attendance by its recordTime, which a terminal that sends it again cannot
    change."""

    async def floor(self, kind: Kept) -> Floor: ...

    async def raise_floor(self, kind: Kept, floor_ms: int) -> None:
        """Before anything below it is deleted; a lower one than there is changes nothing."""
        ...

    async def delete(self, kind: Kept, floor_ms: int, limit: int) -> int:
        """Deletes at most `limit` of those that were received before the floor (attendances: and recorded before it),
        the oldest first; returns how many, 0 where none is left. Attendances whose picture goes say so."""
        ...

    async def swept(self, kind: Kept, floor_ms: int) -> None:
        """Nothing is left below it."""
        ...

    async def oldest_ms(self, kind: Kept) -> int | None:
        """When the oldest that is kept was received."""
        ...
