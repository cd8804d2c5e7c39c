"""T_UPDATE_DEVICE_PERSON (3.4): gives a device the persons that it is to bring up to date or add, page by page (T8)."""

from task_api.interfaces.interface import Parts, TaskCall
from task_api.interfaces.person_pages import person_page


async def handle(call: TaskCall, parts: Parts) -> str | None:
    """The page that is asked for."""
    return await person_page(call, parts)
