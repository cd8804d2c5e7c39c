"""`python -m tests.support.killed_outbox`: task-api that dies by SIGKILL when Kafka has acknowledged task events and
before MongoDB knows it."""

import os
import signal
import sys
from collections.abc import Mapping
from unittest.mock import patch

from shared.stores.mongo.tasks import MongoTaskStore
from task_api.__main__ import main


async def die(_store: MongoTaskStore, _counts: Mapping[str, int]) -> None:
    """In place of mark_relayed."""
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    with patch.object(MongoTaskStore, "mark_relayed", die):
        sys.exit(main())
