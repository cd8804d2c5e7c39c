"""T_DEL_DEVICE_PERSON (3.5): tells a device which persons it is to delete (T9)."""

import json

from task_api.interfaces.interface import Parts, TaskCall, named_task


async def handle(call: TaskCall, parts: Parts) -> str | None:
    """All of their ids at once; whether the platform still knows them does not matter."""
    task = await named_task(call, parts.tasks)
    person_ids = await parts.tasks.person_ids(task.task_id)
    return json.dumps({"personIds": list(person_ids or ())}, ensure_ascii=False, separators=(",", ":"))
