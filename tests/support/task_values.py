"""Tasks for tests, made from what a test cares about."""

from shared.domain.tasks import PLATFORM, Task, made_task
from shared.protocol.apicodes import Apicode
from tests.support.session_values import NOW_MS

TASK_ID = "6541951958563696640"
"""That of the standard's examples."""


def make_task(task_id: str = TASK_ID, sn: str = "1388186", **changes: object) -> Task:
    """A pending task without param."""
    values = {"apicode": Apicode.T_SEND_PERSON, "at_ms": NOW_MS, "actor": PLATFORM, **changes}
    return made_task(task_id, sn, **values)  # type: ignore[arg-type]  # the test's own changes
