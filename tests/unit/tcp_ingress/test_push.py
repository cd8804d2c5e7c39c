"""Which process pushes a command, over which connection, and what it tells of it (C1, C2, T5)."""

from collections.abc import Sequence

import pytest

from shared.domain.control import PushCommand
from shared.runtime.unavailable import Unavailable
from shared.stores.memory_tasks import MemoryPushedTasks
from tcp_ingress import push
from tcp_ingress.push import Pusher, command_message
from terminal_simulator.wire import decode_answer

A, B = "6541951958563696640", "6541951958563696641"
SN = "1388186"
COMMAND = PushCommand(SN, A, "T_CLEAR_DEVICE_PERSON")


class Line:
    """A connection that takes commands, or not."""

    address = "192.0.2.1"
    lost = False

    def __init__(self, *, takes: bool = True) -> None:
        self.takes = takes
        self.messages: list[bytes] = []

    def push(self, message: bytes) -> bool:
        if self.takes:
            self.messages.append(message)
        return self.takes


class Held:
    """The devices of this process, and what Redis says of who holds them."""

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}
        self.taking_over: set[str] = set()
        self.elsewhere: set[str] = set()
        self.ended: set[str] = set()
        self.asked: list[list[str]] = []
        self.available = True

    def carrier_of(self, sn: str) -> Line | None:
        return self.lines.get(sn)

    def is_taking_over(self, sn: str) -> bool:
        return sn in self.taking_over

    def token_of(self, sn: str) -> str:
        return f"token of {sn}"

    def has_ended(self, token: str) -> bool:
        return token in self.ended

    async def held_elsewhere(self, sns: Sequence[str]) -> Sequence[bool]:
        if not self.available:
            raise Unavailable("Redis: TimeoutError")
        self.asked.append(list(sns))
        return [sn in self.elsewhere for sn in sns]


class Bench:
    """A pusher and what is around it; it holds SN."""

    def __init__(self) -> None:
        self.held = Held()
        self.line = self.held.lines[SN] = Line()
        self.pushed = MemoryPushedTasks()
        self.pusher = Pusher(self.held, self.held, self.held, self.pushed)


def test_c1_a_command_is_a_response_that_names_the_task() -> None:
    answer = decode_answer(command_message(COMMAND))
    assert (answer.version, answer.success, answer.apicode) == ("v1.0.0", True, "T_CLEAR_DEVICE_PERSON")
    assert answer.response == {"taskid": A}
    assert b'{"taskid":"6541951958563696640"}' in command_message(COMMAND)


def test_c1_param_is_an_object_in_the_text_that_the_task_has() -> None:
    param = '{"excludeFields":"img,姓名","n":1.10}'
    message = command_message(PushCommand(SN, A, "T_POST_DEVICE_PERSON", param))
    assert f'{{"taskid":"{A}","param":{param}}}'.encode() in message


async def test_c1_a_command_goes_to_the_connection_of_the_device_and_is_told() -> None:
    bench = Bench()
    await bench.pusher.push([COMMAND])
    assert bench.line.messages == [command_message(COMMAND)]
    assert bench.pushed.task_ids == {A}
    assert bench.pusher.pushed == 1


async def test_c2_a_device_that_is_not_held_here_is_nobodys_business() -> None:
    bench = Bench()
    await bench.pusher.push([PushCommand("another", A, "T_CLEAR_DEVICE_PERSON")])
    assert bench.held.asked == []
    assert bench.pushed.task_ids == set()


async def test_c1_a_process_whose_connection_is_not_the_last_pushes_nothing() -> None:
    bench = Bench()
    bench.held.elsewhere.add(SN)
    await bench.pusher.push([COMMAND])
    assert bench.line.messages == []
    assert bench.pushed.task_ids == set()


async def test_c1_a_process_that_takes_the_device_over_pushes_though_redis_was_not_told_yet() -> None:
    bench = Bench()
    bench.held.elsewhere.add(SN)
    bench.held.taking_over.add(SN)
    await bench.pusher.push([COMMAND])
    assert len(bench.line.messages) == 1


async def test_design_5_a_device_whose_session_has_ended_is_pushed_nothing() -> None:
    bench = Bench()
    bench.held.ended.add(f"token of {SN}")
    await bench.pusher.push([COMMAND])
    assert bench.line.messages == []
    assert bench.pushed.task_ids == set()


async def test_t5_a_command_that_the_peer_could_not_take_is_not_delivered() -> None:
    bench = Bench()
    bench.line.takes = False
    await bench.pusher.push([COMMAND])
    assert bench.pushed.task_ids == set()
    assert bench.pusher.pushed == 0


async def test_t5_what_was_told_is_not_told_again() -> None:
    bench = Bench()
    await bench.pusher.push([COMMAND])
    await bench.pushed.remove_many([A])  # task-api has marked it
    await bench.pusher.push([])
    assert bench.pushed.task_ids == set()


async def test_commands_of_one_reading_cost_one_question() -> None:
    bench = Bench()
    bench.held.lines["2"] = Line()
    await bench.pusher.push([COMMAND, PushCommand("2", B, "T_CLEAR_DEVICE_PERSON")])
    assert bench.held.asked == [[SN, "2"]]
    assert bench.pushed.task_ids == {A, B}


async def test_c2_a_command_is_dropped_where_redis_does_not_say_who_holds_the_device() -> None:
    bench = Bench()
    bench.held.available = False
    with pytest.raises(Unavailable):
        await bench.pusher.push([COMMAND])
    bench.held.available = True
    await bench.pusher.push([])
    assert bench.line.messages == []


async def test_t5_what_could_not_be_told_is_told_later_and_not_pushed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "MAX_UNTOLD", 1)
    bench = Bench()
    bench.pushed.available = False
    with pytest.raises(Unavailable):
        await bench.pusher.push([COMMAND, PushCommand(SN, B, "T_CLEAR_DEVICE_PERSON")])
    bench.pushed.available = True
    await bench.pusher.push([])
    assert bench.pushed.task_ids == {A}
    assert len(bench.line.messages) == 2
