"""Which function serves which interface."""

from collections.abc import Mapping

from shared.protocol.apicodes import Apicode
from task_api.interfaces import (
    clear_device_person,
    del_device_person,
    get_tasks,
    post_device_person,
    send_person,
    update_device_person,
    update_device_version,
    update_tasks_status,
)
from task_api.interfaces.interface import Handler

HANDLERS: Mapping[str, Handler] = {
    Apicode.T_GET_TASKS: get_tasks.handle,
    Apicode.T_UPDATE_TASKS_STATUS: update_tasks_status.handle,
    Apicode.T_SEND_PERSON: send_person.handle,
    Apicode.T_UPDATE_DEVICE_PERSON: update_device_person.handle,
    Apicode.T_DEL_DEVICE_PERSON: del_device_person.handle,
    Apicode.T_CLEAR_DEVICE_PERSON: clear_device_person.handle,
    Apicode.T_UPDATE_DEVICE_VERSION: update_device_version.handle,
    Apicode.T_POST_DEVICE_PERSON: post_device_person.handle,
}
