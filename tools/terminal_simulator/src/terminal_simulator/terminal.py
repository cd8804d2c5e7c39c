"""One terminal: token, clock, offline buffer and unanswered requests. It has no socket and reads no clock.

1. Answers come in the order of the requests, because an answer names no request.
2. A sign-in leaves the buffer when the platform took it or refused it for good; whatever else happens, it is sent again
   with the same recordTime, oldest first.
3. A token outlives its connection. 401_01, 401_02 and 400_04 end it: the terminal authenticates anew.
4. 400_05 brings the platform's time in its errmsg: the terminal sets its clock and goes on.
5. 500_01 means later: the terminal waits and sends again.
"""

import base64
import calendar
import re
import time
from bisect import insort
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from terminal_simulator.calls import Call, Download, Downloaded
from terminal_simulator.errands import REFUSED_TOKEN, Errands
from terminal_simulator.face import picture
from terminal_simulator.habits import Account, Habits, Layout
from terminal_simulator.holdings import Holdings
from terminal_simulator.ledger import Ledger, Outcome
from terminal_simulator.signing import ParamStyle, sign, signed_text, write_param
from terminal_simulator.tally import Tally
from terminal_simulator.wire import Answer, FrameReader, MalformedAnswer, decode_answer, encode_frame, encode_message

VERSION = "v1.0.0"
BEIJING_SECONDS = 8 * 3600
FIRST_PERSON = 4508004291609636864
FACE, IC_CARD = 1, 2
MOST_UNANSWERED = 8
MOST_SIGNATURE_REFUSALS = 3
"""A sign-in whose signature is refused so often, with a fresh token each time, will never pass."""
NEVER = float("inf")


@dataclass(slots=True)
class SignIn:
    """A worker's passage. The picture is made when it is sent, so that a full buffer costs little memory."""

    number: int
    person_id: str
    type: int
    record_time: int
    picture_number: int | None
    temperature: float
    was_sent: bool = False
    signature_refusals: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """A request that waits for its answer."""

    apicode: str
    sent_at: float
    sign_in: SignIn | None = None


@dataclass(slots=True)
class Refusal:
    """How the platform refused C_AUTH."""

    errorcode: str
    errmsg: str


class Terminal:
    """The state of one terminal; every time is seconds since the epoch and comes as an argument."""

    def __init__(
        self, sn: str, account: Account, habits: Habits, tally: Tally, ledger: Ledger, random: Random, now: float
    ) -> None:
        self.sn = sn
        self.connected = False
        self.leaving = False
        self.authenticated_once = False
        self.refusal: Refusal | None = None
        """Why the last C_AUTH was refused, where neither the clock nor the platform's state was the reason."""
        self._account = account
        self._habits = habits
        self._tally = tally
        self._ledger = ledger
        self._random = random
        self._token = ""
        self._auth_failures = 0
        off = habits.clock_off_hours * 3600
        self._clock_offset = random.uniform(-off, off) if off else 0.0
        self._frames = FrameReader()
        self._unanswered: deque[Request] = deque()
        self._waiting: list[SignIn] = []
        self._made = 0
        self._last_record_time = 0
        self._task_ids: frozenset[str] = frozenset()
        self.holdings = Holdings()
        self._errands = Errands(sn, account, habits, tally, random, self.holdings)
        self._told_version = ""
        self._is_online = False
        self._pause_until = 0.0
        self._beat_at = now
        self._sign_in_at = now + self._until_next_sign_in()

    # what the connection tells

    def connection_made(self, now: float) -> None:
        """A connection stands: what was left unanswered on the last one may be sent again."""
        self.connected = True
        self._frames = FrameReader()
        self._pause_until = now
        self._beat_at = now

    def connection_lost(self) -> None:
        """The connection is gone, and with it the answers that were under way."""
        self.connected = False
        while self._unanswered:
            sign_in = self._unanswered.popleft().sign_in
            if sign_in is not None:
                self._tally.unanswered += 1
                self._keep(sign_in)
        self._count_online()

    def receive(self, data: bytes, now: float) -> None:
        """Takes what arrived. Raises MalformedAnswer where it is no answer that the standard knows."""
        for frame in self._frames.feed(data):
            answer = decode_answer(frame)
            if answer.apicode.startswith("T_"):
                self._tally.commands += 1  # a command, between answers; it is also listed in heartbeats
                self._errands.pushed(answer.response or {}, answer.apicode)
            else:
                self._answered(answer, now)

    # what the connection asks

    def due(self, now: float) -> bytes:
        """The frames to send now."""
        self._let_pass(now)
        if not self.connected or self.leaving or now < self._pause_until:
            return b""
        if not self._token:
            return b"" if self._is_authenticating() else self._authenticate(now)
        frames: list[bytes] = []
        if self._beat_is_allowed() and now >= self._next_beat_at():
            frames.append(self._beat(now))
        while self._waiting and len(self._unanswered) < MOST_UNANSWERED:
            frames.append(self._upload(self._waiting.pop(0), now))
        return b"".join(frames)

    def wake_at(self, now: float) -> float:
        """When `due` or `is_stalled` may say something new, if nothing arrives before."""
        times = [NEVER if self.leaving else self._sign_in_at]
        if self._unanswered:
            times.append(self._unanswered[0].sent_at + self._habits.answer_seconds)
        if self.connected and not self.leaving:
            if now < self._pause_until:
                times.append(self._pause_until)
            elif self._token and self._beat_is_allowed():
                times.append(self._next_beat_at())
        return min(times)

    def is_stalled(self, now: float) -> bool:
        """True where the oldest request has waited too long for its answer."""
        return bool(self._unanswered) and now >= self._unanswered[0].sent_at + self._habits.answer_seconds

    def has_unanswered(self) -> bool:
        """True while an answer may still come."""
        return (self.connected and bool(self._unanswered)) or self._errands.under_way

    def close_books(self) -> None:
        """Writes the sign-ins that were never acknowledged into the ledger, at the very end."""
        for sign_in in self._waiting:
            self._record(sign_in, Outcome.UNANSWERED)

    # tasks, over HTTPS

    def next_call(self, now: float) -> Call | Download | None:
        """The request to make now, if there is one; its outcome goes to call_answered, downloaded or
        call_not_answered."""
        return None if self.leaving else self._errands.next_call(self._token, now)

    def call_answered(self, call: Call, body: bytes, now: float) -> None:
        """Takes the answer to a call. Raises MalformedAnswer."""
        code = self._errands.answered(call, body, now)
        if code:
            self._tally.errors[code] += 1
        if code in REFUSED_TOKEN and call.token == self._token:
            self._token = ""
            self._count_online()

    def downloaded(self, downloaded: Downloaded, now: float) -> None:
        """Takes what a download brought. Raises MalformedAnswer."""
        self._errands.downloaded(downloaded, now)

    def call_not_answered(self, now: float) -> None:
        """No answer came to the request."""
        self._errands.not_answered(now)

    def call_at(self) -> float:
        """When the next request over HTTPS is due."""
        due_at = self._errands.wake_at() if self._token and not self.leaving else None
        return NEVER if due_at is None else due_at

    # passages

    def _until_next_sign_in(self) -> float:
        rate = self._habits.sign_ins_per_minute / 60
        return self._random.expovariate(rate) if rate > 0 else NEVER

    def _let_pass(self, now: float) -> None:
        while self._sign_in_at <= now and not self.leaving:
            if len(self._waiting) < self._habits.buffer_size:
                self._keep(self._passage(self._sign_in_at))
            else:
                self._tally.dropped += 1
            self._sign_in_at += self._until_next_sign_in()

    def _passage(self, at: float) -> SignIn:
        # two passages of one millisecond would be one event where person and type agree
        self._last_record_time = max(self._last_record_time + 1, int((at + self._clock_offset) * 1000))
        self._made += 1
        with_picture = self._random.random() < self._habits.picture_share
        return SignIn(
            number=self._made,
            person_id=self._somebody(),
            type=FACE if with_picture else IC_CARD,
            record_time=self._last_record_time,
            picture_number=self._random.getrandbits(48) if with_picture else None,
            temperature=self._random.randint(360, 372) / 10,
        )

    def _somebody(self) -> str:
        held = self.holdings.persons
        if held:
            return self._random.choice(list(held))
        # a terminal to which nobody was sent yet lets strangers pass, or a new platform would see no sign-in
        return str(FIRST_PERSON + self._random.randrange(self._habits.persons))

    def _keep(self, sign_in: SignIn) -> None:
        insort(self._waiting, sign_in, key=lambda waiting: waiting.number)
        self._tally.buffered += 1

    def _record(self, sign_in: SignIn, outcome: Outcome, errorcode: str = "") -> None:
        self._ledger.write(
            sn=self.sn,
            person_id=sign_in.person_id,
            record_time=sign_in.record_time,
            sign_in_type=sign_in.type,
            picture=self._picture(sign_in),
            was_sent=sign_in.was_sent,
            outcome=outcome,
            errorcode=errorcode,
        )

    def _picture(self, sign_in: SignIn) -> bytes | None:
        number = sign_in.picture_number
        return None if number is None else picture(number, self._habits.picture_bytes)

    # requests

    def _authenticate(self, now: float) -> bytes:
        account, stamp = self._account, self._time_stamp(now)
        members = {"deviceVersion": self.holdings.device_version, "extendSn": ""}
        param = write_param(members, self._habits.style)
        signed = signed_text(members, self._habits.style, self._habits.form)
        if self._habits.style is ParamStyle.LOOSE:
            # the standard prints this one without the comma between its members (2.1.4)
            param = param.replace('",extendSn', '"extendSn')
            signed = signed.replace('",extendSn', '"extendSn')
        signature = sign(
            VERSION, self.sn, "C_AUTH", account.access_id, account.access_key, stamp, signed, account.access_secret
        )
        secret = [account.access_secret] if self._habits.layout is Layout.NINE else []
        head = [VERSION, self.sn, "C_AUTH", account.access_id, account.access_key]
        self._unanswered.append(Request("C_AUTH", now))
        return encode_frame(encode_message([*head, *secret, stamp, param, signature]))

    def _beat(self, now: float) -> bytes:
        # sooner than asked for, never later: a minute without a heartbeat means offline
        self._beat_at = now + self._habits.heartbeat_seconds * self._random.uniform(0.9, 1.0)
        self._told_version = self.holdings.device_version
        return self._request(
            "C_HEARTBEAT",
            {"deviceVersion": self._told_version, "devicelp": "192.168.1.11"},
            now,  # devicelp: as printed
        )

    def _next_beat_at(self) -> float:
        # a terminal that installed another firmware starts anew, and beats
        return self._beat_at if self._told_version in ("", self.holdings.device_version) else 0.0

    def _upload(self, sign_in: SignIn, now: float) -> bytes:
        self._tally.buffered -= 1
        if sign_in.was_sent:
            self._tally.resent += 1
        else:
            self._tally.sign_ins_sent += 1
            sign_in.was_sent = True
        loose = self._habits.style is ParamStyle.LOOSE
        # the standard's table has type a string and recordTime a number, its example the other way round
        members: dict[str, object] = {
            "personId": sign_in.person_id,
            "type": sign_in.type if loose else str(sign_in.type),
        }
        image = self._picture(sign_in)
        if image is not None:
            members["img"] = base64.b64encode(image).decode()
        members["recordTime"] = str(sign_in.record_time) if loose else sign_in.record_time
        members["temperature"] = sign_in.temperature
        return self._request("C_SIGN_IN", members, now, sign_in)

    def _request(self, apicode: str, members: Mapping[str, object], now: float, sign_in: SignIn | None = None) -> bytes:
        stamp = self._time_stamp(now)
        param = write_param(members, self._habits.style)
        signed = signed_text(members, self._habits.style, self._habits.form)
        signature = sign(VERSION, self.sn, self._token, apicode, stamp, signed, self._account.access_secret)
        self._unanswered.append(Request(apicode, now, sign_in))
        return encode_frame(encode_message([VERSION, self.sn, self._token, apicode, stamp, param, signature]))

    def _time_stamp(self, now: float) -> str:
        return time.strftime("%Y%m%d%H%M%S", time.gmtime(now + self._clock_offset + BEIJING_SECONDS))

    def _is_authenticating(self) -> bool:
        return any(request.apicode == "C_AUTH" for request in self._unanswered)

    def _beat_is_allowed(self) -> bool:
        return len(self._unanswered) < MOST_UNANSWERED

    # answers

    def _answered(self, answer: Answer, now: float) -> None:
        if not self._unanswered:
            raise MalformedAnswer(f"an answer to {answer.apicode or 'nothing'}, though nothing was asked")
        request = self._unanswered[0]
        if answer.apicode != request.apicode and (answer.success or answer.apicode):
            raise MalformedAnswer(f"an answer to {answer.apicode} where {request.apicode} was asked first")
        token = ""
        if answer.success and request.apicode == "C_AUTH":
            token = str((answer.response or {}).get("token", ""))
            if not token:
                raise MalformedAnswer("success to C_AUTH without a token")
        self._unanswered.popleft()
        self._tally.latencies_ms.append((now - request.sent_at) * 1000)
        if not answer.success:
            self._failed(request, answer, now)
        elif token:
            self._accepted(token)
        elif request.sign_in is not None:
            self._tally.acknowledged += 1
            self._record(request.sign_in, Outcome.ACKNOWLEDGED)
        else:
            self._tally.heartbeats += 1
            self._note_tasks(answer)
        self._count_online()

    def _accepted(self, token: str) -> None:
        self._token = token
        self._tally.authentications += 1
        self.authenticated_once = True
        self.refusal = None
        self._auth_failures = 0

    def _failed(self, request: Request, answer: Answer, now: float) -> None:
        code, sign_in = answer.errorcode, request.sign_in
        self._tally.errors[code] += 1
        if request.apicode == "C_AUTH":
            self.refusal = Refusal(code, answer.errmsg) if code not in ("400_05", "500_01") else None
            self._auth_failures += 1
            # a C_AUTH of the same second is a replay, so the next one is at least a second away
            self._pause_until = now + min(60.0, 1.1 * 2 ** min(self._auth_failures - 1, 6)) * self._random.uniform(
                1.0, 1.3
            )
        elif code in REFUSED_TOKEN:
            self._token = ""
        if code == "400_05":
            self._set_clock(answer.errmsg, now)
            self._pause_until = max(self._pause_until, now + self._random.uniform(1.1, 1.5))
        elif code == "500_01":
            self._pause_until = max(self._pause_until, now + self._random.uniform(1.0, 5.0))
        if sign_in is None:
            return
        sign_in.signature_refusals += code == "400_04"
        if code in ("400_01", "400_02") or sign_in.signature_refusals >= MOST_SIGNATURE_REFUSALS:
            self._tally.refused += 1
            self._record(sign_in, Outcome.REFUSED, code)
        else:
            self._keep(sign_in)

    def _set_clock(self, errmsg: str, now: float) -> None:
        found = re.search(r"(?<!\d)\d{14}(?!\d)", errmsg)
        if found is None:
            return
        try:
            platform = time.strptime(found[0], "%Y%m%d%H%M%S")
        except ValueError:
            return  # fourteen digits that are no time tell nothing
        self._clock_offset = calendar.timegm(platform) - BEIJING_SECONDS - now
        self._last_record_time = 0  # the old clock may have been ahead

    def _note_tasks(self, answer: Answer) -> None:
        listed = (answer.response or {}).get("taskids") or []
        task_ids = frozenset(map(str, listed)) if isinstance(listed, list) else frozenset({str(listed)})
        self._tally.tasks += len(task_ids - self._task_ids)
        self._task_ids = task_ids
        self._errands.listed(task_ids)

    def _count_online(self) -> None:
        is_online = self.connected and bool(self._token)
        self._tally.online += is_online - self._is_online
        self._is_online = is_online
