"""T_SEND_PERSON (3.3): gives a device the persons that it is to hold, page by page (T8)."""

from task_api.interfaces.interface import Parts, TaskCall
from task_api.interfaces.person_pages import person_page


async def handle(call: TaskCall, parts: Parts) -> str | None:
    """The page that is asked for."""
    return await person_page(call, parts)
