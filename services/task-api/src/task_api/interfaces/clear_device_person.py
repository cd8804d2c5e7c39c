"""T_CLEAR_DEVICE_PERSON (3.6): confirms to a device that it is to delete all of its persons (T9)."""

from task_api.interfaces.interface import Parts, TaskCall, named_task


async def handle(call: TaskCall, parts: Parts) -> str | None:
    """There is no response: that the answer is a success says it."""
    await named_task(call, parts.tasks)
    return None
