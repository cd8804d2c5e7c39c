"""attendance-writer that links a picture only where it came before its event."""

import sys
from collections.abc import Set
from unittest.mock import patch

from attendance_writer.__main__ import main
from shared.stores.mongo.attendance import MongoAttendanceStore
from shared.stores.mongo.pictures import MongoPictureStore


async def link_nothing(_store: object, _event_ids: Set[str]) -> None:
    """In place of both sides' _link."""


if __name__ == "__main__":
    with (
        patch.object(MongoAttendanceStore, "_link", link_nothing),
        patch.object(MongoPictureStore, "_link", link_nothing),
    ):
        sys.exit(main())
