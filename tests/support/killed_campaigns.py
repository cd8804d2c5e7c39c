"""`python -m tests.support.killed_campaigns POINT`: a console that dies by SIGKILL the first time that its campaign
runner comes to a point: `drawn`, `made` or `listed`, before or after it is."""

import os
import signal
import sys
from typing import Any
from unittest.mock import patch

from console_service.__main__ import main
from shared.stores.mongo.campaigns import MongoCampaignStore
from shared.stores.mongo.tasks import MongoTaskStore
from shared.stores.redis.pending_tasks import RedisPendingTasks

POINTS: dict[str, tuple[type[Any], str]] = {
    "drawn": (MongoCampaignStore, "put_devices"),
    "made": (MongoTaskStore, "add_many"),
    "listed": (RedisPendingTasks, "add_many"),
}


def dying(real: Any, *, after: bool) -> Any:
    """In place of the method; it does nothing but its work while it is given nothing to write."""

    async def die(store: Any, *arguments: Any) -> None:
        if after or not arguments[-1]:
            await real(store, *arguments)
        if arguments[-1]:
            os.kill(os.getpid(), signal.SIGKILL)

    return die


if __name__ == "__main__":
    moment, _, point = sys.argv[1].partition("-")
    store_class, method = POINTS[point]
    with patch.object(store_class, method, dying(getattr(store_class, method), after=moment == "after")):
        sys.exit(main())
