"""Which function serves which interface."""

from collections.abc import Mapping

from shared.protocol.apicodes import Apicode
from task_api.interfaces import get_tasks, update_tasks_status
from task_api.interfaces.interface import Handler

HANDLERS: Mapping[str, Handler] = {
    Apicode.T_GET_TASKS: get_tasks.handle,
    Apicode.T_UPDATE_TASKS_STATUS: update_tasks_status.handle,
}
