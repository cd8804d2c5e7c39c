"""Which entry of the control stream goes where in an ingress."""

from collections.abc import Sequence

from shared.domain.control import ControlEntry, CredentialRevoked, PushCommand, SessionReplaced, TasksChanged
from tcp_ingress.control_entries import ControlEntries


class Noted:
    """Stands for the cache, the task lists and the pusher: what they are told, in order."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def apply(self, entry: ControlEntry) -> None:
        self.told.append(("cache", entry))

    def changed(self, sn: str, traceparent: str | None) -> None:
        self.told.append(("lists", sn, traceparent))

    def empty(self) -> None:
        self.told.append("empty")

    async def push(self, commands: Sequence[PushCommand]) -> None:
        self.told.append(("push", list(commands)))


def make_entries() -> tuple[ControlEntries, Noted]:
    noted = Noted()
    return ControlEntries(noted, noted, noted), noted  # type: ignore[arg-type]  # a stand-in for all three


COMMAND = PushCommand("sn-1", "6541951958563696640", "T_CLEAR_DEVICE_PERSON")
REPLACED, REVOKED, CHANGED = SessionReplaced("sn", "t"), CredentialRevoked("a1", 1), TasksChanged("sn-1")
TRACED = TasksChanged("sn-2", f"00-{1:032x}-{1:016x}-01")


async def test_design_4_a_change_of_tasks_is_told_to_the_lists_alone_and_the_rest_to_the_cache() -> None:
    entries, noted = make_entries()
    for entry in (CHANGED, TRACED, REPLACED, REVOKED):
        entries.apply(entry)
    lists = [("lists", "sn-1", None), ("lists", "sn-2", TRACED.traceparent)]
    assert noted.told == [*lists, ("cache", REPLACED), ("cache", REVOKED)]


async def test_c1_commands_are_pushed_together_at_the_end() -> None:
    entries, noted = make_entries()
    await entries.act([COMMAND, CHANGED, REPLACED, COMMAND])
    assert noted.told == [("push", [COMMAND, COMMAND])]


async def test_t5_what_is_untold_is_told_again_though_no_command_came() -> None:
    entries, noted = make_entries()
    await entries.act([])
    assert noted.told == [("push", [])]


async def test_design_4_a_loss_empties_the_cache_and_the_lists() -> None:
    entries, noted = make_entries()
    entries.empty()
    assert noted.told == ["empty", "empty"]
