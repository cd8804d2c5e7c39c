"""tcp-ingress that answers success before Kafka has acknowledged, as Traccar once did."""

import asyncio
import sys
from typing import Any
from unittest.mock import patch

from shared.runtime.unavailable import Unavailable
from tcp_ingress.__main__ import main
from tcp_ingress.group_commit import GroupCommit

_publish = GroupCommit.publish
_under_way: set[asyncio.Task[None]] = set()


async def publish_later(commit: GroupCommit, *arguments: Any) -> None:
    """In place of GroupCommit.publish."""

    async def publish() -> None:
        try:
            await _publish(commit, *arguments)
        except Unavailable:
            pass  # whoever waited for it was answered long ago

    task = asyncio.ensure_future(publish())
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)


if __name__ == "__main__":
    with patch.object(GroupCommit, "publish", publish_later):
        sys.exit(main())
