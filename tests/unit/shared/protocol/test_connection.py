"""F4–F6, C1: what is received is bounded, answers leave in request order, pushes stand between them."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shared.protocol.connection import DeviceConnection, Received
from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.frames import FrameDecoder
from shared.protocol.messages import AuthRequest, DeviceRequest, encode_response, error_response

LIMIT = 1024
TOO_LARGE = b"\x81\x08"  # 1025
UNDECODABLE = b"\x01\x00"  # field number 0


def request_frame(sn: str) -> bytes:
    """A C_HEARTBEAT of a device, by hand: fields 2 and 4."""
    message = bytes((0x12, len(sn))) + sn.encode() + b"\x22\x0bC_HEARTBEAT"
    return bytes((len(message),)) + message


def message_for(number: int) -> bytes:
    return encode_response(version="v1.0.0", success=True, apicode="C_HEARTBEAT", response=f'{{"n":{number}}}')


def frames_of(data: bytes) -> list[bytes]:
    decoder = FrameDecoder(1 << 20)
    frames = decoder.feed(data)
    assert decoder.awaited == 0, "an answer left in part"
    return frames


def sns(received: list[Received]) -> list[str]:
    return [item.request.sn for item in received if item.request is not None]


def test_f5_requests_are_numbered_in_the_order_in_which_they_came() -> None:
    connection = DeviceConnection(LIMIT, 64)

    first = connection.receive(request_frame("a") + request_frame("b")[:5])
    second = connection.receive(request_frame("b")[5:] + request_frame("c"))

    assert [item.number for item in first + second] == [0, 1, 2]
    assert sns(first + second) == ["a", "b", "c"]
    assert all(isinstance(item.request, DeviceRequest) and item.fault is None for item in first + second)


def test_m4_c_auth_is_received_as_an_auth_request() -> None:
    connection = DeviceConnection(LIMIT, 64)

    (received,) = connection.receive(b"\x08\x1a\x06C_AUTH")

    assert isinstance(received.request, AuthRequest)


def test_f5_answers_leave_in_request_order() -> None:
    connection = DeviceConnection(LIMIT, 64)
    connection.receive(b"".join(map(request_frame, "abc")))

    assert connection.answer(2, message_for(2)) == b""
    assert connection.answer(1, message_for(1)) == b""
    assert connection.unanswered == 3
    assert frames_of(connection.answer(0, message_for(0))) == [message_for(0), message_for(1), message_for(2)]
    assert connection.unanswered == 0
    assert connection.buffered == 0


def test_f5_an_answer_behind_an_unfinished_sign_in_waits() -> None:
    connection = DeviceConnection(LIMIT, 64)
    connection.receive(b"".join(map(request_frame, "abc")))

    assert frames_of(connection.answer(0, message_for(0))) == [message_for(0)]
    assert connection.answer(2, message_for(2)) == b""
    assert frames_of(connection.answer(1, message_for(1))) == [message_for(1), message_for(2)]


@pytest.mark.parametrize("number", [-1, 3, 0, 2])
def test_f5_a_request_is_answered_once(number: int) -> None:
    connection = DeviceConnection(LIMIT, 64)
    connection.receive(b"".join(map(request_frame, "abc")))
    connection.answer(0, message_for(0))
    connection.answer(2, message_for(2))

    with pytest.raises(ValueError, match=f"no request {number} waits"):
        connection.answer(number, message_for(number))


def test_c1_a_pushed_command_stands_between_answers() -> None:
    connection = DeviceConnection(LIMIT, 64)
    connection.receive(request_frame("a") + request_frame("b"))
    command = encode_response(version="v1.0.0", success=True, apicode="T_SEND_PERSON", response='{"taskid":"1"}')

    sent = connection.answer(0, message_for(0)) + connection.push(command) + connection.answer(1, message_for(1))

    assert frames_of(sent) == [message_for(0), command, message_for(1)]


def test_f6_past_the_bound_frames_wait_undecoded_and_come_out_when_answers_made_room() -> None:
    connection = DeviceConnection(LIMIT, 2)

    first = connection.receive(b"".join(map(request_frame, "abcde")))

    assert sns(first) == ["a", "b"]
    assert connection.should_pause
    assert connection.buffered == 3 * (len(request_frame("a")) - 1)
    assert connection.receive(b"") == []
    connection.answer(0, message_for(0))
    assert connection.should_pause  # two frames wait yet, though there is room for one
    assert sns(connection.receive(b"")) == ["c"]
    connection.answer(1, message_for(1))
    connection.answer(2, message_for(2))
    assert sns(connection.receive(b"")) == ["d", "e"]
    assert connection.should_pause
    connection.answer(3, message_for(3))
    assert not connection.should_pause
    assert sns(connection.receive(request_frame("f"))) == ["f"]


def test_f6_an_answer_that_waits_for_an_earlier_one_counts_so_held_answers_are_bounded() -> None:
    connection = DeviceConnection(LIMIT, 3)
    connection.receive(b"".join(map(request_frame, "abcd")))
    connection.answer(1, message_for(1))
    connection.answer(2, message_for(2))

    assert connection.should_pause
    assert connection.receive(b"") == []
    assert connection.buffered == len(request_frame("d")) - 1 + 2 * (len(message_for(1)) + 1)


@pytest.mark.parametrize("broken", [TOO_LARGE, b"\x80\x80\x80\x80\x80", UNDECODABLE, UNDECODABLE + TOO_LARGE])
def test_f3_f4_a_fault_is_the_last_thing_received_and_is_answered_in_its_turn(broken: bytes) -> None:
    connection = DeviceConnection(LIMIT, 64)

    received = connection.receive(request_frame("a") + broken + request_frame("b"))

    assert sns(received) == ["a"]
    fault = received[-1].fault
    assert (received[-1].number, received[-1].request) == (1, None)
    assert isinstance(fault, ProtocolError)
    assert fault.code is ErrorCode.PARAM
    assert connection.should_close
    assert not connection.finished
    assert connection.receive(request_frame("c")) == []
    refusal = error_response(None, fault)
    assert connection.answer(1, refusal) == b""
    assert frames_of(connection.answer(0, message_for(0))) == [message_for(0), refusal]
    assert connection.finished


def test_f3_a_fault_behind_waiting_frames_comes_after_them() -> None:
    connection = DeviceConnection(LIMIT, 1)

    assert sns(connection.receive(request_frame("a") + request_frame("b") + TOO_LARGE)) == ["a"]
    assert not connection.should_close
    connection.answer(0, message_for(0))
    received = connection.receive(b"")

    assert sns(received) == ["b"]
    assert received[-1].fault is not None
    assert connection.should_close
    assert connection.buffered == 0


def test_f4_an_undecodable_frame_drops_the_frames_that_wait_behind_it() -> None:
    connection = DeviceConnection(LIMIT, 1)
    connection.receive(request_frame("a") + UNDECODABLE + request_frame("b") + request_frame("c")[:4])
    connection.answer(0, message_for(0))

    (received,) = connection.receive(b"")

    assert received.fault is not None
    assert (connection.buffered, connection.awaited) == (0, 0)
    assert connection.receive(b"") == []


def test_f4_an_empty_frame_is_a_request_and_the_connection_stays() -> None:
    connection = DeviceConnection(LIMIT, 64)

    received = connection.receive(b"\x00" + request_frame("a"))

    assert sns(received) == ["", "a"]
    assert not connection.should_close


def test_f4_after_the_end_what_was_sent_is_answered_and_half_a_frame_is_not_waited_for() -> None:
    connection = DeviceConnection(LIMIT, 1)
    connection.receive(request_frame("a") + request_frame("b") + request_frame("c")[:3])
    connection.end()

    assert connection.awaited == 0
    assert not connection.should_close
    connection.answer(0, message_for(0))
    assert sns(connection.receive(b"")) == ["b"]
    assert connection.should_close
    assert not connection.finished
    assert connection.receive(request_frame("d")) == []
    connection.answer(1, message_for(1))
    assert connection.finished


def test_f4_a_fault_that_was_read_before_the_end_is_still_answered() -> None:
    connection = DeviceConnection(LIMIT, 1)
    connection.receive(request_frame("a") + request_frame("b") + TOO_LARGE)
    connection.end()
    connection.answer(0, message_for(0))

    received = connection.receive(b"")

    assert [item.fault is None for item in received] == [True, False]
    assert connection.should_close


def test_f4_half_a_frame_shows_in_awaited_and_buffered() -> None:
    connection = DeviceConnection(LIMIT, 64)
    frame = request_frame("a")

    connection.receive(frame[:4])

    assert (connection.awaited, connection.buffered) == (len(frame) - 1, 3)
    connection.receive(frame[4:])
    assert (connection.awaited, connection.buffered) == (0, 0)


class ConnectionMachine(RuleBasedStateMachine):
    """Any chunking of any stream, answers in any order, pushes anywhere, beside a model that only keeps lists."""

    @initialize(
        max_unanswered=st.integers(1, 4), fault=st.sampled_from([b"", TOO_LARGE, UNDECODABLE, UNDECODABLE + TOO_LARGE])
    )
    def start(self, max_unanswered: int, fault: bytes) -> None:
        self.connection = DeviceConnection(LIMIT, max_unanswered)
        self.max_unanswered = max_unanswered
        self.fault = fault
        self.stream = b""
        """Sent by the device and not read yet."""
        self.sent: list[str] = []
        self.broken = False
        self.received: list[str] = []
        self.faults = 0
        self.open: list[int] = []
        self.left: list[bytes] = []
        self.pushed: list[bytes] = []
        self.ended = False

    def take(self, data: bytes) -> None:
        for item in self.connection.receive(data):
            assert item.number == len(self.received) + self.faults, "numbers count up"
            assert self.faults == 0, "a fault is the last thing received"
            self.open.append(item.number)
            if item.request is None:
                assert item.fault is not None
                self.faults += 1
            else:
                self.received.append(item.request.sn)

    @precondition(lambda self: not self.broken)
    @rule(count=st.integers(1, 6))
    def device_sends_requests(self, count: int) -> None:
        for _ in range(count):
            sn = f"sn-{len(self.sent)}"
            self.sent.append(sn)
            self.stream += request_frame(sn)

    @precondition(lambda self: self.fault and not self.broken)
    @rule()
    def device_sends_a_fault(self) -> None:
        self.stream += self.fault + request_frame("after the fault")
        self.broken = True

    @precondition(lambda self: self.stream and not self.connection.should_pause)
    @rule(size=st.integers(1, 120))
    def server_reads(self, size: int) -> None:
        chunk, self.stream = self.stream[:size], self.stream[size:]
        self.take(chunk)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def server_answers_any(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.open))
        self.open.remove(number)
        self.left += frames_of(self.connection.answer(number, message_for(number)))
        self.take(b"")

    @rule()
    def server_pushes(self) -> None:
        command = encode_response(version="", success=True, apicode="T_SEND_PERSON", response=f"[{len(self.pushed)}]")
        self.pushed.append(command)
        self.left += frames_of(self.connection.push(command))

    @precondition(lambda self: not self.stream and not self.ended)
    @rule()
    def peer_half_closes(self) -> None:
        self.connection.end()
        self.ended = True
        self.broken = True  # it sends no more

    @invariant()
    def f5_answers_left_in_request_order(self) -> None:
        answers = [frame for frame in self.left if frame not in self.pushed]
        assert answers == [message_for(number) for number in range(len(answers))]
        assert [frame for frame in self.left if frame in self.pushed] == self.pushed
        first_open = min(self.open, default=len(self.received) + self.faults)
        assert len(answers) == first_open, "an answer leaves as soon as nothing before it is unanswered"

    @invariant()
    def f6_the_count_is_bounded(self) -> None:
        # a fault may stand one past the bound, since nothing follows it
        assert self.connection.unanswered <= self.max_unanswered + self.faults
        assert len(self.open) <= self.connection.unanswered

    @invariant()
    def requests_are_received_once_in_order(self) -> None:
        assert self.received == self.sent[: len(self.received)]

    @invariant()
    def closing_is_finished_once_everything_is_answered(self) -> None:
        if self.faults:
            assert self.connection.should_close
        assert self.connection.finished == (self.connection.should_close and not self.open)

    def teardown(self) -> None:
        if not hasattr(self, "connection"):
            return
        while self.open or (self.stream and not self.connection.should_close):
            if self.open:
                number = self.open.pop()
                self.left += frames_of(self.connection.answer(number, message_for(number)))
                self.take(b"")
            else:
                chunk, self.stream = self.stream[:7], self.stream[7:]
                self.take(chunk)
        self.f5_answers_left_in_request_order()
        assert self.received == self.sent, "nothing that was sent before a fault is lost"
        assert self.connection.unanswered == 0
        assert not self.connection.should_pause


ConnectionMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestConnectionMachine = ConnectionMachine.TestCase
