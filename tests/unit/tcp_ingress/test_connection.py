"""When a connection reads, stops reading and ends, over a transport that only takes notes."""

import asyncio

import msgspec
import pytest

from shared.protocol.connection import DeviceConnection
from shared.protocol.errors import ProtocolError
from shared.protocol.frames import encode_frame
from shared.protocol.messages import AuthRequest, DeviceRequest, encode_response, error_response, success_response
from tcp_ingress.connection import LAST_READ_SECONDS, LEAVE_SECONDS, LINGER_SECONDS, Connection, Patience
from tcp_ingress.handlers import Answer, Done
from tcp_ingress.held_bytes import FREE_SHARE_BYTES, HeldBytes
from tcp_ingress.metrics import IngressMetrics
from terminal_simulator.wire import FrameReader, decode_answer, encode_message

PATIENCE = Patience(
    half_frame_seconds=30,
    half_frame_bytes_per_second=8192,
    unauthenticated_seconds=60,
    idle_seconds=300,
    write_seconds=30,
    max_age_seconds=3600,
)


class NotedTransport(asyncio.Transport):
    """What the connection does with its transport."""

    def __init__(self, *, tls: bool = False) -> None:
        super().__init__({"peername": ("192.0.2.1", 5)})
        self.written: list[bytes] = []
        self.reading = True
        self.ended: str = ""
        self._tls = tls

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def can_write_eof(self) -> bool:
        return not self._tls

    def write_eof(self) -> None:
        self.ended = "half-closed"

    def is_closing(self) -> bool:
        return self.ended in ("closed", "aborted")

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"

    def pause_reading(self) -> None:
        assert self.reading, "paused twice"
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading, "resumed twice"
        self.reading = True

    def answers(self) -> list[str]:
        """The apicode, or else the error code, of each answer."""
        frames = FrameReader().feed(b"".join(self.written))
        return [answer.errorcode or answer.apicode for answer in map(decode_answer, frames)]


class HeldHandlers:
    """Answers heartbeats at once and everything else when the test says so."""

    def __init__(self) -> None:
        self.later: list[asyncio.Future[None]] = []
        self.gone: list[bool] = []
        """Of each connection that closed, whether it was told to."""
        self.fault_of_ours: Exception | None = None

    def handle(self, request: AuthRequest | DeviceRequest, carrier: Connection, done: Done) -> Answer | None:
        assert not carrier.lost
        assert carrier.address == "192.0.2.1"
        if request.apicode == "C_HEARTBEAT":
            return Answer(success_response(request, "{}"), alive=True)
        if self.fault_of_ours is not None:
            raise self.fault_of_ours
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        answer = Answer(success_response(request), alive=True)
        future.add_done_callback(lambda ended: done(answer if ended.exception() is None else None))
        self.later.append(future)
        return None

    def fault(self, error: ProtocolError) -> Answer:
        return Answer(error_response(None, error), alive=False)

    def left(self, carrier: Connection, *, was_told_to: bool) -> None:
        assert carrier.lost
        self.gone.append(was_told_to)


class OneConnection:
    """Admits or refuses, and notes who left."""

    def __init__(self) -> None:
        self.admits = True
        self.gone = 0

    def admit(self, _connection: Connection) -> bool:
        return self.admits

    def left(self, _connection: Connection) -> None:
        self.gone += 1


class Bench:
    """A connection with everything around it."""

    def __init__(
        self, *, max_unanswered: int = 4, max_held: int = 10_000_000, tls: bool = False, patience: Patience = PATIENCE
    ) -> None:
        self.transport = NotedTransport(tls=tls)
        self.handlers = HeldHandlers()
        self.registry = OneConnection()
        self.held = HeldBytes(max_held)
        self.metrics = IngressMetrics()
        self.connection = Connection(
            DeviceConnection(4 * 1024 * 1024, max_unanswered),
            self.handlers,  # type: ignore[arg-type]  # a stand-in with the methods that are called
            self.registry,
            self.held,
            patience,
            self.metrics,
        )
        self.connection.connection_made(self.transport)

    def receive(self, *messages: bytes) -> None:
        self.connection.data_received(b"".join(encode_frame(message) for message in messages))

    async def answer(self, number: int) -> None:
        self.handlers.later[number].set_result(None)
        await turns()

    def sweep(self, seconds_later: float) -> None:
        self.connection.sweep(asyncio.get_running_loop().time() + seconds_later)


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def request(apicode: str, param: str = "{}") -> bytes:
    return encode_message(["v1", "sn", "0" * 32, apicode, "20261124150000", param, "sign"])


BEAT, SIGN_IN = request("C_HEARTBEAT"), request("C_SIGN_IN")


async def test_f5_one_write_carries_the_answers_of_all_heartbeats_of_a_read() -> None:
    bench = Bench()
    bench.receive(BEAT, BEAT, BEAT)
    assert bench.transport.answers() == ["C_HEARTBEAT"] * 3
    assert len(bench.transport.written) == 1


async def test_f5_a_heartbeat_behind_a_sign_in_waits_for_it() -> None:
    bench = Bench()
    bench.receive(BEAT, SIGN_IN, BEAT)
    await turns()
    assert bench.transport.answers() == ["C_HEARTBEAT"]
    await bench.answer(0)
    assert bench.transport.answers() == ["C_HEARTBEAT", "C_SIGN_IN", "C_HEARTBEAT"]


async def test_f5_answers_that_are_ready_in_one_turn_of_the_loop_leave_in_one_write_and_in_order() -> None:
    bench = Bench()
    bench.receive(SIGN_IN, SIGN_IN, SIGN_IN)
    await turns()
    for number in (2, 0, 1):
        bench.handlers.later[number].set_result(None)
    await turns()
    assert bench.transport.answers() == ["C_SIGN_IN"] * 3
    assert len(bench.transport.written) == 1


async def test_f5_what_is_answered_at_once_never_overtakes_an_answer_that_is_about_to_leave() -> None:
    bench = Bench()
    bench.receive(SIGN_IN)
    await turns()
    bench.handlers.later[0].set_result(None)
    await asyncio.sleep(0)
    assert (bench.connection.unanswered, bench.transport.answers()) == (0, [])
    bench.receive(BEAT)
    assert bench.transport.answers() == ["C_SIGN_IN", "C_HEARTBEAT"]


async def test_f6_reading_stops_at_the_bound_and_goes_on_when_answers_made_room() -> None:
    bench = Bench(max_unanswered=2)
    bench.receive(SIGN_IN, SIGN_IN, SIGN_IN, BEAT)
    await turns()
    assert len(bench.handlers.later) == 2  # what was read beyond the bound waits
    assert not bench.transport.reading
    await bench.answer(0)
    assert len(bench.handlers.later) == 3
    assert not bench.transport.reading
    await bench.answer(1)
    await bench.answer(2)
    assert bench.transport.reading
    assert bench.transport.answers() == ["C_SIGN_IN"] * 3 + ["C_HEARTBEAT"]


async def test_a_read_with_thousands_of_heartbeats_is_done_in_portions_with_others_in_between() -> None:
    bench = Bench(max_unanswered=4)
    bench.receive(*[BEAT] * 10)
    assert len(bench.transport.answers()) == 4
    assert not bench.transport.reading
    await turns()
    assert len(bench.transport.answers()) == 10
    assert bench.transport.reading


async def test_reading_stops_while_the_peer_leaves_its_answers_unread_and_it_is_cut_off_in_the_end() -> None:
    bench = Bench()
    bench.receive(BEAT)
    bench.connection.pause_writing()
    assert not bench.transport.reading
    bench.connection.resume_writing()
    assert bench.transport.reading
    bench.connection.pause_writing()
    bench.sweep(29)
    assert bench.transport.ended == ""
    bench.sweep(31)
    assert bench.transport.ended == "aborted"
    assert bench.metrics.closed["unread"] == 1


async def test_design_7_at_the_bound_of_held_bytes_large_senders_wait_and_small_ones_do_not() -> None:
    bench = Bench(max_held=FREE_SHARE_BYTES * 2)
    bench.held.change(FREE_SHARE_BYTES * 2)  # what others hold
    bench.receive(SIGN_IN)
    assert bench.transport.reading
    bench.receive(request("C_SIGN_IN", " " * FREE_SHARE_BYTES))
    assert not bench.transport.reading
    bench.held.change(-FREE_SHARE_BYTES)
    assert not bench.transport.reading  # its own are still too many
    bench.held.change(-FREE_SHARE_BYTES)
    assert bench.transport.reading
    await turns()
    await bench.answer(0)
    await bench.answer(1)
    assert bench.held.total == 0


async def test_f4_after_a_fault_nothing_is_read_and_the_end_waits_for_the_answers_before_it() -> None:
    bench = Bench()
    bench.connection.data_received(encode_frame(SIGN_IN) + b"\x01\xff" + encode_frame(BEAT))
    await turns()
    assert bench.transport.answers() == []
    assert not bench.transport.reading
    await bench.answer(0)
    assert bench.transport.answers() == ["C_SIGN_IN", "400_02"]
    assert bench.transport.ended == "half-closed"
    # what still arrives is read and dropped, or the kernel would reset the connection and the answers with it
    assert bench.transport.reading
    bench.receive(BEAT)
    assert bench.transport.answers() == ["C_SIGN_IN", "400_02"]
    bench.sweep(LINGER_SECONDS + 0.1)
    assert bench.transport.ended == "closed"
    bench.sweep(LINGER_SECONDS + PATIENCE.write_seconds + 0.1)
    assert bench.transport.ended == "aborted"


async def test_f4_a_half_close_is_answered_on_a_plain_port_and_then_closed() -> None:
    bench = Bench()
    bench.receive(SIGN_IN)
    assert bench.connection.eof_received() is True
    await turns()
    assert bench.transport.ended == ""
    await bench.answer(0)
    assert bench.transport.answers() == ["C_SIGN_IN"]
    assert bench.transport.ended == "closed"


async def test_f4_a_half_close_with_nothing_unanswered_closes_at_once() -> None:
    bench = Bench()
    bench.receive(BEAT)
    assert bench.connection.eof_received() is False
    assert bench.transport.ended == "closed"


async def test_design_13_leaving_answers_what_was_read_and_closes() -> None:
    bench = Bench(max_unanswered=2)
    bench.connection.data_received(encode_frame(SIGN_IN) * 5)
    bench.connection.leave("drain")
    bench.connection.leave("drain")
    await asyncio.sleep(LAST_READ_SECONDS * 1.5)
    assert not bench.transport.reading
    for number in range(5):
        await turns()
        await bench.answer(number)
    await turns()
    assert bench.transport.answers() == ["C_SIGN_IN"] * 5
    assert bench.transport.ended == "half-closed"
    assert bench.connection.eof_received() is False
    assert bench.metrics.closed["drain"] == 1
    assert bench.connection.told_to_leave


async def test_design_13_a_connection_that_leaves_lets_a_frame_come_to_its_end_and_answers_it() -> None:
    bench = Bench()
    bench.connection.data_received(encode_frame(BEAT)[:20])
    bench.connection.leave("drain")
    await asyncio.sleep(LAST_READ_SECONDS * 1.5)
    assert bench.transport.reading
    assert bench.transport.ended == ""
    bench.connection.data_received(encode_frame(BEAT)[20:])
    assert bench.transport.answers() == ["C_HEARTBEAT"]
    assert bench.transport.ended == "half-closed"


async def test_design_13_a_connection_that_leaves_answers_what_had_arrived_but_was_not_read_yet() -> None:
    bench = Bench()
    bench.connection.leave("drain")
    bench.receive(BEAT)
    assert bench.transport.answers() == ["C_HEARTBEAT"]
    assert bench.transport.ended == "half-closed"
    await asyncio.sleep(LAST_READ_SECONDS * 1.5)
    assert bench.transport.ended == "half-closed"


async def test_design_13_a_connection_that_leaves_does_not_wait_for_the_rest_of_a_frame_for_long() -> None:
    bench = Bench()
    bench.receive(SIGN_IN)
    await turns()
    bench.connection.data_received(encode_frame(BEAT)[:20])
    bench.connection.leave("drain")
    bench.sweep(LEAVE_SECONDS - 0.1)
    assert bench.transport.reading
    bench.sweep(LEAVE_SECONDS + 0.1)
    assert not bench.transport.reading
    assert bench.connection.unanswered == 1
    await bench.answer(0)
    assert bench.transport.answers() == ["C_SIGN_IN"]
    assert bench.transport.ended == "half-closed"


async def test_design_7_a_connection_leaves_at_its_age_give_or_take_a_quarter_as_in_a_drain() -> None:
    benches = [Bench(patience=msgspec.structs.replace(PATIENCE, idle_seconds=7200)) for _ in range(200)]
    for age, expected in ((0.74, range(1)), (1.0, range(50, 151)), (1.26, range(200, 201))):
        for bench in benches:
            bench.receive(BEAT)
            bench.sweep(3600 * age)
        await asyncio.sleep(LAST_READ_SECONDS * 1.5)
        assert sum(bench.transport.ended != "" for bench in benches) in expected
    assert all(bench.metrics.closed["age"] == 1 for bench in benches)


async def test_leaving_an_idle_tls_connection_closes_it() -> None:
    bench = Bench(tls=True)
    bench.connection.leave("drain")
    await asyncio.sleep(LAST_READ_SECONDS * 1.5)
    assert bench.transport.ended == "closed"


@pytest.mark.parametrize("announced", [100_000, 4_000_000])
async def test_f4_half_a_frame_has_30_seconds_and_its_size_at_8_kib_a_second(announced: int) -> None:
    bench = Bench()
    bench.receive(BEAT)
    frame = encode_frame(bytes(announced))
    bench.connection.data_received(frame[:50_000])
    limit = 30 + announced / 8192
    bench.sweep(limit - 1)
    assert bench.transport.ended == ""
    bench.sweep(limit + 1)
    assert bench.transport.ended == "closed"
    assert bench.held.total == 0
    assert bench.metrics.closed["half_frame"] == 1


async def test_f4_half_a_frame_while_there_is_no_room_for_others_has_30_seconds() -> None:
    bench = Bench(max_held=90_000)
    bench.connection.data_received(encode_frame(bytes(4_000_000))[:100_000])
    assert not bench.transport.reading
    bench.sweep(29)
    assert bench.transport.ended == ""
    bench.sweep(31)
    assert bench.transport.ended == "closed"


async def test_idle_times_run_from_the_last_success_and_not_while_something_is_unanswered() -> None:
    bench = Bench()
    bench.sweep(59)
    assert bench.transport.ended == ""
    bench.receive(BEAT)
    bench.sweep(299)
    assert bench.transport.ended == ""
    bench.receive(SIGN_IN)
    await turns()
    bench.sweep(400)
    assert bench.transport.ended == ""
    await bench.answer(0)
    bench.sweep(301)
    assert bench.transport.ended == "closed"
    assert bench.metrics.closed["idle"] == 1

    stranger = Bench()
    stranger.sweep(61)
    assert stranger.transport.ended == "closed"
    assert stranger.metrics.closed["unauthenticated"] == 1


async def test_c1_a_pushed_command_leaves_at_once_also_before_an_answer_that_waits() -> None:
    bench = Bench()
    bench.receive(SIGN_IN)
    await turns()
    assert bench.connection.push(encode_response(version="", success=True, apicode="T_CLEAR_DEVICE_PERSON"))
    await bench.answer(0)
    assert bench.transport.answers() == ["T_CLEAR_DEVICE_PERSON", "C_SIGN_IN"]


async def test_c2_a_peer_that_does_not_read_or_is_told_to_leave_or_is_gone_takes_no_command() -> None:
    command = encode_response(version="", success=True, apicode="T_CLEAR_DEVICE_PERSON")
    unread = Bench()
    unread.connection.pause_writing()
    assert not unread.connection.push(command)
    unread.connection.resume_writing()
    assert unread.connection.push(command)
    leaving = Bench()
    leaving.receive(SIGN_IN)
    leaving.connection.leave("drain")
    assert not leaving.connection.push(command)
    ended = Bench()
    ended.connection.eof_received()
    assert not ended.connection.push(command)
    gone = Bench()
    gone.connection.connection_lost(None)
    assert not gone.connection.push(command)
    assert [len(bench.transport.written) for bench in (unread, leaving, ended, gone)] == [1, 0, 0, 0]


async def test_an_answer_after_the_connection_was_lost_goes_nowhere_and_gives_its_bytes_back() -> None:
    bench = Bench()
    bench.receive(SIGN_IN)
    await turns()
    assert bench.held.total > 0
    bench.connection.connection_lost(None)
    assert bench.held.total == 0
    await bench.answer(0)
    assert bench.transport.written == []
    assert bench.registry.gone == 1


async def test_a_defect_in_a_handler_ends_the_connection_instead_of_wedging_it() -> None:
    bench = Bench()
    bench.receive(SIGN_IN, BEAT)
    await turns()
    bench.handlers.later[0].set_exception(RuntimeError("a defect"))
    await turns()
    assert bench.transport.ended == "aborted"
    bench = Bench()
    bench.handlers.fault_of_ours = RuntimeError("a defect")
    with pytest.raises(RuntimeError, match="a defect"):
        bench.receive(SIGN_IN)
    assert bench.transport.ended == "aborted"


async def test_design_7_a_refused_connection_is_closed_at_once_and_is_not_counted_as_left() -> None:
    bench = Bench()
    bench.registry.admits = False
    refused = Connection(
        DeviceConnection(1000, 4),
        bench.handlers,  # type: ignore[arg-type]  # as above
        bench.registry,
        bench.held,
        PATIENCE,
        bench.metrics,
    )
    transport = NotedTransport()
    refused.connection_made(transport)
    assert transport.ended == "aborted"
    refused.connection_lost(None)
    assert bench.registry.gone == 0
