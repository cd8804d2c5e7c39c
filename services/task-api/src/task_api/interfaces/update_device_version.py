"""T_UPDATE_DEVICE_VERSION (3.7): gives a device the package that it is to install (T10)."""

from shared.domain.tasks import package_text
from shared.protocol.errors import ErrorCode, ProtocolError
from task_api.interfaces.interface import Parts, TaskCall, named_task


async def handle(call: TaskCall, parts: Parts) -> str | None:
    """The package, with a new link. Param may be missing: as printed (3.7.4) there is none."""
    task = await named_task(call, parts.tasks)
    named = None if call.param is None else call.param.read_text("version")
    if named and (task.firmware is None or named != task.firmware.version):
        raise ProtocolError(ErrorCode.PARAM, "version is not the task's")
    return None if task.firmware is None else package_text(task.firmware, parts.links, call.now_ms)
