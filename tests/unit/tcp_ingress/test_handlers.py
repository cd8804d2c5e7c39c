"""The three interfaces over stores' twins: what is answered, what is accepted, what becomes of a passage."""

import asyncio
import json
from collections.abc import Sequence

import pytest
from opentelemetry.trace import SpanKind

from shared.domain.authentication import AuthCall, AuthReply
from shared.domain.control import CredentialRevoked
from shared.domain.devices import Direction, SiteSpan
from shared.domain.events import Record
from shared.domain.sealing import Sealer
from shared.domain.sessions import Session
from shared.kafka.producer import RecordTooLarge
from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.messages import decode_request
from shared.runtime.clock import ManualClock
from shared.runtime.logging import JsonFormatter
from shared.runtime.tracing import NOT_TRACED, SampledSpan, Tracing
from shared.runtime.unavailable import Unavailable
from shared.stores.ended_view import EndedView
from shared.stores.memory import MemoryControlStream, MemorySessionStore
from tcp_ingress.device_cache import DeviceCache
from tcp_ingress.handlers import Answer, Handlers
from tcp_ingress.metrics import IngressMetrics
from tcp_ingress.presence_batches import Carrier
from terminal_simulator.wire import Answer as Decoded
from terminal_simulator.wire import decode_answer
from tests.support.builders import Vendor, make_auth, make_heartbeat, make_sign_in
from tests.support.session_values import NOW_MS, make_session
from tests.support.spans import KeptSpans, attributes, span_id, trace_id

SECRET, TOKEN, SN = "the-secret-of-the-vendor", "0123456789abcdef" * 2, "sn-1"
STAMP = "20261124140000"  # NOW_MS in Shanghai
SEALER = Sealer({"k1": bytes(32)})
VENDOR = Vendor("access-id", "access-key", SECRET)


class NotedCommit:
    """Takes what is published, or fails."""

    def __init__(self) -> None:
        self.published: list[tuple[Record, Sequence[Record]]] = []
        self.fault: Exception | None = None
        self.takes_bytes = 10_000_000
        self.refuses_at_once = True
        """Or `fault` is what becomes of what was taken."""

    def publish(
        self, sign_in: Record, sensitive: Sequence[Record], deadline: float, _span: SampledSpan | None = None
    ) -> "asyncio.Future[None]":
        assert 4 < deadline - asyncio.get_running_loop().time() <= 5
        if self.fault is not None and self.refuses_at_once:
            raise self.fault
        if max(len(record.value) for record in (sign_in, *sensitive)) > self.takes_bytes:
            raise RecordTooLarge("too many bytes")
        outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.fault is not None:
            outcome.set_exception(self.fault)
        else:
            self.published.append((sign_in, sensitive))
            outcome.set_result(None)
        return outcome


class ScriptedAuth:
    """Replies as the test wrote it."""

    def __init__(self) -> None:
        self.reply: AuthReply | Exception = AuthReply(error_code="400_04", detail="sign wrong")
        self.calls: list[AuthCall] = []
        self.hangs = False

    async def authenticate(self, call: AuthCall, _span: SampledSpan | None = None) -> AuthReply:
        self.calls.append(call)
        if self.hangs:
            await asyncio.Event().wait()
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply


class ScriptedLists:
    """Task lists that are read when they are waited for."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.read: set[str] = set()
        self.wanted: list[str] = []
        self.makers: dict[str, str] = {}
        self.hangs = False

    def take_maker(self, sn: str) -> str | None:
        return self.makers.pop(sn, None)

    def held(self, sn: str) -> str | None:
        return self.texts.get(sn, "{}") if sn in self.read else None

    async def find(self, sn: str) -> str:
        if self.hangs:
            await asyncio.Event().wait()
        self.read.add(sn)
        return self.texts.get(sn, "{}")

    def want(self, sn: str) -> None:
        self.wanted.append(sn)


class Line:
    """A connection."""

    address = "192.0.2.1"
    lost = False

    def push(self, _message: bytes) -> bool:
        return False


LINE = Line()


class NotedPresence:
    """Takes what is told of devices."""

    def __init__(self) -> None:
        self.accepted_of: list[tuple[object, ...]] = []
        self.spans: list[SampledSpan | None] = []

    def accepted(self, carrier: Carrier, session: Session, *told: object, span: SampledSpan | None = None) -> None:
        assert carrier.address == "192.0.2.1"
        self.spans.append(span)
        self.accepted_of.append((session.sn, *told))


class Bench:
    """Handlers with one session known in Redis."""

    def __init__(self, deadline_seconds: float = 5, tracing: Tracing = NOT_TRACED, **session_changes: object) -> None:
        self.clock = ManualClock(NOW_MS)
        self.sessions = MemorySessionStore(self.clock, MemoryControlStream())
        self.session = make_session(TOKEN, SN, sealed_secret=SEALER.seal(SECRET, "a1"), **session_changes)
        self.sessions._sessions[TOKEN] = (self.session, NOW_MS + 1_800_000)
        self.view = EndedView(60_000)
        self.view.up_to_date(NOW_MS)
        self.cache = DeviceCache(self.sessions, SEALER, self.view, size=10, group_seconds=0, window_seconds=600)
        self.auth = ScriptedAuth()
        self.commit = NotedCommit()
        self.presence = NotedPresence()
        self.lists = ScriptedLists()
        self.metrics = IngressMetrics()
        self.handlers = Handlers(
            self.cache,
            self.auth,  # type: ignore[arg-type]  # a stand-in with the one method that is called
            self.commit,  # type: ignore[arg-type]  # as above
            self.presence,  # type: ignore[arg-type]  # as above
            self.lists,  # type: ignore[arg-type]  # as above
            self.clock,
            self.metrics,
            deadline_seconds,
            tracing,
        )

    async def ask(self, message: bytes) -> tuple[Decoded, Answer]:
        request = decode_request(message)
        later: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        answer = self.handlers.handle(request, LINE, later.set_result)
        assert not later.done(), "what is answered later must not be answered before handle has returned"
        if answer is None:
            answer = await later
        assert answer is not None
        return decode_answer(answer.message), answer

    async def code(self, message: bytes) -> str:
        return (await self.ask(message))[0].errorcode


def beat(**changes: str) -> bytes:
    return make_heartbeat(SECRET, **{"sn": SN, "token": TOKEN, "stamp": STAMP, **changes})


def sign_in(**changes: object) -> bytes:
    values = {"sn": SN, "token": TOKEN, "stamp": STAMP, "record_time": NOW_MS - 1000, **changes}
    return make_sign_in(SECRET, **values)  # type: ignore[arg-type]  # names of make_sign_in


async def test_m7_a_heartbeat_is_answered_with_an_empty_object_while_nothing_waits() -> None:
    bench = Bench()
    decoded, answer = await bench.ask(beat())
    assert (decoded.success, decoded.response, decoded.apicode, decoded.version) == (True, {}, "C_HEARTBEAT", "v1.0.0")
    assert answer.alive


async def test_design_4_only_the_first_heartbeat_of_a_session_has_to_wait() -> None:
    bench = Bench()
    waited: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
    assert bench.handlers.handle(decode_request(beat()), LINE, waited.set_result) is None
    assert await waited is not None
    assert bench.handlers.handle(decode_request(beat()), LINE, pytest.fail) is not None  # type: ignore[arg-type]  # never called
    assert bench.metrics.count_of("C_HEARTBEAT", "success") == 2


async def test_m7_a_heartbeat_lists_the_pending_tasks() -> None:
    bench = Bench()
    bench.lists.texts[SN] = '{"taskids":["6541951958563696640"]}'
    for _ in range(2):  # waited for, then held
        decoded, _answer = await bench.ask(beat())
        assert decoded.response == {"taskids": ["6541951958563696640"]}


async def test_m7_a_heartbeat_whose_list_is_to_be_read_again_waits_for_it() -> None:
    bench = Bench()
    await bench.ask(beat())
    bench.lists.read.clear()
    decoded, _answer = await bench.ask(beat())
    assert decoded.success
    assert bench.lists.read == {SN}


async def test_design_12_a_heartbeat_whose_list_hangs_is_answered_without_it() -> None:
    bench = Bench(deadline_seconds=0.05)
    bench.lists.hangs = True
    decoded, _answer = await bench.ask(beat())
    assert (decoded.success, decoded.response) == (True, {})


async def test_a_refused_heartbeat_has_no_list_read() -> None:
    bench = Bench()
    assert await bench.code(beat(signature="0" * 32)) == "400_04"
    assert bench.lists.read == set()


async def test_t1_t2_an_accepted_request_is_told_and_a_refused_one_is_not() -> None:
    bench = Bench()
    assert await bench.code(beat(signature="0" * 32)) == "400_04"
    assert await bench.code(sign_in(person_id="")) == "400_02"
    assert bench.presence.accepted_of == []
    assert await bench.code(beat()) == ""
    assert await bench.code(sign_in()) == ""
    assert bench.presence.accepted_of == [
        (SN, NOW_MS, NOW_MS, "v14.8.7", "192.168.1.11"),
        (SN, NOW_MS, NOW_MS, None, None),
    ]


@pytest.mark.parametrize("make", [beat, sign_in])
async def test_e2_a_session_that_was_ended_is_401_02_before_the_clock_is_looked_at(make: object) -> None:
    bench = Bench()
    assert callable(make)
    assert await bench.code(make()) == ""
    bench.view.apply(CredentialRevoked("a1", NOW_MS))
    assert await bench.code(make(stamp="bad")) == "401_02"


async def test_design_3_redis_out_of_reach_is_500_01_and_never_401_01() -> None:
    bench = Bench()
    bench.sessions.available = False
    for message in (beat(), sign_in(), beat(token="f" * 32)):
        decoded, answer = await bench.ask(message)
        assert decoded.errorcode == "500_01"
        assert answer.alive  # our fault is no reason to cut the terminal off
    bench.sessions.available = True
    assert await bench.code(beat(token="f" * 32)) == "401_01"


async def test_an_error_keeps_nobody_alive() -> None:
    bench = Bench()
    _, answer = await bench.ask(beat(token="f" * 32))
    assert not answer.alive


@pytest.mark.parametrize("session_is_held", [False, True])
@pytest.mark.parametrize("at_once", [False, True])
async def test_e6_a_sign_in_is_answered_with_success_only_after_it_was_published(
    session_is_held: bool, at_once: bool
) -> None:
    bench = Bench()
    if session_is_held:
        assert await bench.code(beat()) == ""
    bench.commit.refuses_at_once = at_once
    bench.commit.fault = Unavailable("Kafka: not acknowledged within the deadline")
    assert await bench.code(sign_in()) == "500_01"
    bench.commit.fault = None
    assert await bench.code(sign_in()) == ""
    assert len(bench.commit.published) == 1


@pytest.mark.parametrize("session_is_held", [False, True])
async def test_a_defect_in_publishing_is_told_to_the_connection_which_has_no_answer_to_give(
    session_is_held: bool, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench()
    if session_is_held:
        assert await bench.code(beat()) == ""
    bench.commit.fault, bench.commit.refuses_at_once = RuntimeError("a defect"), False
    answered: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
    assert bench.handlers.handle(decode_request(sign_in()), LINE, answered.set_result) is None
    assert await answered is None
    await asyncio.sleep(0)
    # By the loop, whose callback it was, or by the end of the task.
    assert "a defect" in caplog.text


async def test_a_sign_in_that_the_topics_do_not_take_is_500_01_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.commit.fault = RecordTooLarge("7000000 bytes")
    decoded, _ = await bench.ask(sign_in())
    assert decoded.errorcode == "500_01"
    assert "7000000 bytes" in caplog.text


@pytest.mark.parametrize(
    "texts", [{"invented": "x" * 5000}, {"irisInfo": "x" * 5000}, {"healthInfo": {"travelMsg": "x" * 5000}}]
)
async def test_j6_texts_that_are_larger_than_the_topics_take_cost_neither_the_passage_nor_its_picture(
    texts: dict[str, object],
) -> None:
    bench = Bench()
    bench.commit.takes_bytes = 4000
    picture = b"\xff\xd8\xff" + b"x" * 500
    assert await bench.code(sign_in(extra=texts, picture=picture)) == ""
    [(record, sensitive)] = bench.commit.published
    event = json.loads(record.value)
    assert (event["image"]["size"], event["healthInfo"]) == (503, None)
    assert [part.value for part in sensitive] == [picture]
    assert bench.metrics.shortened == 1


async def test_design_11_the_event_carries_site_and_direction_as_of_record_time() -> None:
    history = (
        SiteSpan(NOW_MS - 10_000, "site-1", Direction.IN),
        SiteSpan(NOW_MS - 5_000, "site-2", Direction.OUT),
    )
    bench = Bench(site_history=history)
    for record_time in (NOW_MS - 20_000, NOW_MS - 7_000, NOW_MS - 1_000):
        assert await bench.code(sign_in(record_time=record_time)) == ""
    events = [json.loads(record.value) for record, _ in bench.commit.published]
    assert [(event["siteId"], event["direction"]) for event in events] == [
        (None, None),
        ("site-1", "in"),
        ("site-2", "out"),
    ]


async def test_design_14_the_event_carries_both_clocks_and_the_record_the_time_of_receipt() -> None:
    bench = Bench()
    late = NOW_MS - 7 * 86_400_000  # uploaded after a week offline
    assert await bench.code(sign_in(record_time=late, stamp="20261124135900")) == ""
    [(record, _)] = bench.commit.published
    event = json.loads(record.value)
    assert event["recordTime"] == late
    assert event["sentAt"] == "2026-11-24T05:59:00.000Z"
    assert event["receivedAt"] == "2026-11-24T06:00:00.000Z"
    assert record.timestamp_ms == NOW_MS
    assert record.key == SN.encode()


async def test_design_9_the_event_holds_a_reference_and_nothing_sensitive() -> None:
    bench = Bench()
    picture = b"\xff\xd8\xff" + b"p" * 5000
    message = sign_in(
        picture=picture,
        extra={"irisInfo": "the-iris", "tongji": "unknown", "qrCodeInfo": {"name": "kept"}, "coordinate": {
            "longitude": 120.2, "latitude": 30.3}},
    )  # fmt: skip
    assert await bench.code(message) == ""
    [(record, sensitive)] = bench.commit.published
    event = json.loads(record.value)
    assert event["image"]["size"] == len(picture)
    assert event["qrCodeInfo"] == {"name": "kept"}
    assert event["coordinate"] == {"longitude": 120.2, "latitude": 30.3}
    assert b"the-iris" not in record.value
    assert b"tongji" not in record.value
    assert sensitive[0].value == picture
    assert json.loads(sensitive[1].value) == {"irisInfo": "the-iris", "extra": '{"tongji":"unknown"}'}


async def test_a_sign_in_of_a_synthetic_vendor_goes_to_its_own_topic_without_anything_sensitive() -> None:
    picture = b"\xff\xd8\xff" + b"p" * 5000
    bench = Bench(synthetic=True)
    assert await bench.code(sign_in(picture=picture, extra={"irisInfo": "the-iris", "lane": 4})) == ""
    [(record, sensitive)] = bench.commit.published
    assert record.topic == "attendance.synthetic.v1"
    assert list(sensitive) == []
    event = json.loads(record.value)
    assert (event["sn"], event["image"]) == (SN, None)
    assert "ce_dataref" not in dict(record.headers)


async def test_a_sign_in_of_any_other_vendor_goes_where_wages_are_computed_from() -> None:
    bench = Bench()
    assert await bench.code(sign_in()) == ""
    [(record, _)] = bench.commit.published
    assert record.topic == "attendance.sign-in.v1"


async def test_j6_an_image_that_is_none_does_not_cost_the_record() -> None:
    bench = Bench()
    param = f'{{"personId":"p","type":1,"img":"@@not base64@@","recordTime":{NOW_MS}}}'
    signed = f'{{"personId":"p","type":1,"recordTime":{NOW_MS}}}'
    assert await bench.code(sign_in(param=param, signed_param=signed)) == ""
    [(record, sensitive)] = bench.commit.published
    assert "base64" in json.loads(record.value)["imageDropped"]
    assert sensitive == ()


async def test_a_c_auth_that_passes_is_answered_with_its_token_and_its_session_is_held() -> None:
    bench = Bench()
    opened = make_session("f" * 32, SN, sealed_secret=SEALER.seal(SECRET, "a1"))
    bench.auth.reply = AuthReply(session=opened)
    decoded, _ = await bench.ask(make_auth(VENDOR, SN, stamp=STAMP))
    assert decoded.response == {"token": "f" * 32}
    assert bench.auth.calls[0].address == "192.0.2.1"
    bench.sessions.available = False
    assert await bench.code(beat(token="f" * 32)) == ""


async def test_e2_of_c_auth_the_sn_is_checked_before_session_is_asked() -> None:
    bench = Bench()
    assert await bench.code(make_auth(VENDOR, "s" * 65, stamp=STAMP)) == "400_02"
    assert bench.auth.calls == []


@pytest.mark.parametrize("code", [code for code in ErrorCode if code is not ErrorCode.TOKEN])
async def test_a_c_auth_that_session_refuses_is_answered_with_its_code_and_detail(code: ErrorCode) -> None:
    bench = Bench()
    bench.auth.reply = AuthReply(error_code=code.code, detail="because")
    decoded, _ = await bench.ask(make_auth(VENDOR, SN, stamp=STAMP))
    assert (decoded.errorcode, decoded.errmsg) == (code.code, f"{code.text}: because")


async def test_a_session_service_out_of_reach_or_hanging_is_500_01_at_the_deadline() -> None:
    bench = Bench(deadline_seconds=0.1)
    bench.auth.reply = Unavailable("session: ClientConnectorError")
    assert await bench.code(make_auth(VENDOR, SN, stamp=STAMP)) == "500_01"
    bench.auth.hangs = True
    async with asyncio.timeout(1):
        assert await bench.code(make_auth(VENDOR, SN, stamp=STAMP)) == "500_01"


async def test_a_code_that_is_none_of_the_standards_is_500_01() -> None:
    bench = Bench()
    bench.auth.reply = AuthReply(error_code="999")
    assert await bench.code(make_auth(VENDOR, SN, stamp=STAMP)) == "500_01"


async def test_f4_a_fault_is_answered_without_apicode() -> None:
    bench = Bench()
    answer = bench.handlers.fault(ProtocolError(ErrorCode.PARAM, "frame over the size limit"))
    decoded = decode_answer(answer.message)
    assert (decoded.errorcode, decoded.apicode, decoded.version) == ("400_02", "", "v1.0.0")
    assert bench.metrics.count_of("other", "400_02") == 1


async def test_label_values_never_come_from_a_terminal() -> None:
    bench = Bench()
    assert await bench.code(beat(apicode="C_EVIL")) == "400_01"
    assert bench.metrics.count_of("other", "400_01") == 1
    assert bench.metrics.count_of("C_EVIL", "400_01") == 0


async def test_design_8_no_answer_or_log_holds_secret_token_or_expected_sign(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    bench = Bench()
    right = decode_request(beat()).sign
    answers = [(await bench.ask(beat(signature="0" * 32)))[1].message]
    answers.append((await bench.ask(sign_in(signature="0" * 32)))[1].message)
    bench.commit.fault = Unavailable("Kafka: NotLeader")
    answers.append((await bench.ask(sign_in(picture=b"\xff\xd8\xff")))[1].message)
    for text in [*answers, caplog.text.encode()]:
        for secret in (SECRET, TOKEN, right):
            assert secret.encode() not in text


# ── traces ────────────────────────────────────────────────────────────────────────────────────────────────────────

TASKS = '{"taskids":["6541951958563696640"]}'


def listing(tracing: Tracing, text: str = TASKS) -> Bench:
    """A bench whose device's list is held and was changed by a traced request."""
    bench = Bench(tracing=tracing)
    bench.cache.opened(bench.session, NOW_MS, bench.cache.generation)
    bench.lists.read.add(SN)
    bench.lists.texts[SN] = text
    bench.lists.makers[SN] = f"00-{1:032x}-{2:016x}-01"
    return bench


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after a wait"])
async def test_the_first_heartbeat_that_lists_a_traced_task_is_a_step_of_its_trace(waits: bool) -> None:
    kept = KeptSpans()
    bench = listing(kept.tracing)
    if waits:
        bench.lists.read.clear()
    for _ in range(2):
        assert (await bench.ask(beat()))[0].success
    listed, (first, second) = kept.one("list tasks"), kept.all("device C_HEARTBEAT")
    assert (trace_id(listed), listed.kind) == (1, SpanKind.PRODUCER)
    assert listed.parent is not None
    assert listed.parent.span_id == 2
    assert [link.context.span_id for link in listed.links] == [span_id(first)]
    assert attributes(listed) == {
        "network.transport": "tcp",
        "site_access.apicode": "C_HEARTBEAT",
        "site_access.sn": SN,
    }
    assert [link.context.span_id for link in first.links] == [2]
    assert list(second.links) == []


async def test_a_heartbeat_that_is_not_sampled_is_a_step_of_its_tasks_trace_and_links_to_nothing() -> None:
    kept = KeptSpans(ratio=0)
    await listing(kept.tracing).ask(beat())
    assert kept.names == ["list tasks"]
    assert list(kept.one("list tasks").links) == []


async def test_a_heartbeat_that_is_refused_or_lists_nothing_is_no_step_of_a_tasks_trace() -> None:
    kept = KeptSpans(ratio=0)
    bench = listing(kept.tracing)
    assert await bench.code(beat(signature="0" * 32)) == "400_04"
    assert kept.names == []
    assert bench.lists.makers
    await listing(kept.tracing, text="{}").ask(beat())
    assert kept.names == []


@pytest.mark.parametrize("traceparent", ["", "no trace", f"00-{1:032x}-{2:016x}-00", f"00-{0:032x}-{0:016x}-01"])
async def test_a_maker_that_cannot_be_read_or_is_not_sampled_costs_the_heartbeat_nothing(traceparent: str) -> None:
    kept = KeptSpans(ratio=0)
    bench = listing(kept.tracing)
    bench.lists.makers[SN] = traceparent
    assert (await bench.ask(beat()))[0].success
    assert kept.names == []


async def test_without_an_endpoint_a_tasks_trace_gains_no_step_and_nothing_is_kept() -> None:
    bench = listing(NOT_TRACED)
    assert (await bench.ask(beat()))[0].success
    assert bench.lists.makers == {}


async def test_presence_is_told_which_span_an_accepted_request_has() -> None:
    kept = KeptSpans()
    for tracing, names in ((kept.tracing, ["device C_HEARTBEAT", "device C_SIGN_IN"]), (NOT_TRACED, [None, None])):
        bench = Bench(tracing=tracing)
        for message in (beat(), sign_in()):
            assert (await bench.ask(message))[0].success
        of_frames = {span_id(one): one.name for name in set(kept.names) for one in kept.all(name)}
        assert [None if one is None else of_frames[one.context.span_id] for one in bench.presence.spans] == names


async def test_a_sampled_sign_in_that_fails_by_our_fault_is_logged_with_its_trace_and_no_other_is(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caplog.handler, "formatter", JsonFormatter("tcp-ingress"))
    for ratio, lines in ((0.0, 0), (1.0, 1)):
        kept = KeptSpans(ratio)
        bench = Bench(tracing=kept.tracing)
        bench.commit.fault = Unavailable("Kafka: NotLeader")
        assert await bench.code(sign_in()) == "500_01"
        said = [json.loads(line) for line in caplog.text.splitlines()]
        assert len(said) == lines
    assert said[0]["message"] == "C_SIGN_IN answered 500_01: Kafka: NotLeader"
    assert said[0]["trace_id"] == f"{trace_id(kept.one('device C_SIGN_IN')):032x}"
    assert said[0]["span_id"] == f"{span_id(kept.one('device C_SIGN_IN')):016x}"


async def test_refusals_are_counted_by_the_vendor_of_the_session_held_here_or_read_for_it() -> None:
    bench = Bench(vendor_id="v7")
    assert await bench.code(beat(signature="0" * 32)) == "400_04"  # read from Redis
    await bench.ask(beat())
    assert await bench.code(beat(signature="0" * 32)) == "400_04"  # held
    assert await bench.code(sign_in(person_id="")) == "400_02"
    bench.commit.fault = Unavailable("Kafka: NotLeader")
    assert await bench.code(sign_in()) == "500_01"
    assert refusals(bench) == {("v7", "400_04"): 2, ("v7", "400_02"): 1, ("v7", "500_01"): 1}


async def test_refusals_without_a_session_are_of_an_unknown_vendor_and_a_success_is_none() -> None:
    bench = Bench()
    assert await bench.code(beat(token="f" * 32)) == "401_01"
    assert await bench.code(beat(apicode="C_EVIL")) == "400_01"
    assert await bench.code(make_auth(VENDOR, SN, stamp=STAMP)) == "400_04"
    bench.handlers.fault(ProtocolError(ErrorCode.PARAM, "frame over the size limit"))
    await bench.ask(beat())
    expected = {"401_01": 1, "400_01": 1, "400_04": 1, "400_02": 1}
    assert refusals(bench) == {("unknown", code): count for code, count in expected.items()}


def refusals(bench: Bench) -> dict[tuple[str, str], int]:
    """Those that there were, by vendor and code."""
    return {
        (sample.labels["vendor"], sample.labels["outcome"]): int(sample.value)
        for family in bench.metrics.process.registry.collect()
        for sample in family.samples
        if sample.name == "tcp_ingress_refusals_total" and sample.value
    }
