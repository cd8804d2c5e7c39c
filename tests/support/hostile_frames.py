"""Frames of an attacker who knows the protocol: messages mutated where their structure is, some of them signed again
afterwards so that they get past the signature. Seeded: the same seed gives the same frames."""

import random
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from terminal_simulator.signing import sign
from terminal_simulator.wire import encode_frame, encode_message, encode_varint
from tests.support.builders import VERSION, Vendor, now_ms, time_stamp

TEXT = 2
"""Wire type of every field of a request."""

MAX_FRAME = 4 * 1024 * 1024


@dataclass(frozen=True)
class HostileFrame:
    """A frame, and what is known of its answer beforehand."""

    data: bytes
    must_be_refused: bool
    """Nobody who knows the secret signed what it says."""
    ends_the_connection: bool = False
    """Its length is a lie, so what follows cannot be told apart."""


class Attacker:
    """Holds a session of its own, and nobody else's secret."""

    def __init__(self, seed: int, vendor: Vendor, sn: str, token: str) -> None:
        self._random = random.Random(seed)
        self._vendor = vendor
        self._sn = sn
        self._token = token

    def frame(self) -> HostileFrame:
        """The next frame."""
        make = self._random.choices(
            (self._changed_after_signing, self._signed_again, self._wire_tricks, self._forged_auth, self._random_bytes),
            weights=(4, 6, 4, 1, 1),
        )[0]
        return make()

    def last_frame(self) -> HostileFrame:
        """One whose length is a lie or a trick."""
        message = encode_message(self._values())
        size = len(message)
        lies: Sequence[Callable[[], bytes]] = (
            lambda: encode_varint(size + self._random.randint(1, 1000)) + message,
            lambda: encode_varint(max(size - self._random.randint(1, 50), 1)) + message,
            lambda: encode_varint(MAX_FRAME) + message,
            lambda: encode_varint(MAX_FRAME + 1) + message,
            lambda: encode_varint(2 ** self._random.choice((22, 31, 32, 34))) + message,
            lambda: b"\x80\x80\x80\x80\x80\x00" + message,
            lambda: b"\xff" * self._random.randint(1, 12),
            lambda: b"\x00" * self._random.randint(1, 200) + b"\x80",
            lambda: encode_frame(message)[: self._random.randint(1, size)],
        )
        return HostileFrame(self._random.choice(lies)(), must_be_refused=False, ends_the_connection=True)

    def _values(self) -> list[str]:
        """A right C_SIGN_IN or C_HEARTBEAT, field by field."""
        apicode = self._random.choice(("C_SIGN_IN", "C_HEARTBEAT"))
        param = "{}"
        if apicode == "C_SIGN_IN":
            person = self._random.randint(1, 50)
            param = f'{{"personId":"p{person}","type":1,"recordTime":{now_ms()}}}'
        return self._signed([VERSION, self._sn, self._token, apicode, time_stamp(), param, ""])

    def _signed(self, values: list[str]) -> list[str]:
        return [*values[:6], sign(*values[:6], self._vendor.access_secret)]

    def _changed_after_signing(self) -> HostileFrame:
        values = self._values()
        before = list(values)
        place = self._random.randrange(len(values))
        how = self._random.randrange(5)
        if how == 0:
            other = self._random.randrange(len(values))
            values[place], values[other] = values[other], values[place]
        elif how == 1:
            values[place] = values[place][: self._random.randrange(len(values[place]))]
        elif how == 2:
            values[place] *= 2
        elif how == 3:
            at = self._random.randrange(len(values[place]))
            values[place] = values[place][:at] + self._random.choice("0aZ\x00\u2028}") + values[place][at + 1 :]
        else:
            del values[place]
        return HostileFrame(encode_frame(encode_message(values)), must_be_refused=values != before)

    def _signed_again(self) -> HostileFrame:
        """What gets past the signature: the fields are for the code behind it to refuse or to take."""
        values = self._values()
        values[5] = self._hostile_param(values[5])
        if self._random.random() < 0.2:
            values[0] = self._random.choice(("", "v" * 5000, "v1\x00", "\u202e" * 10, "v1.0.0\r\nX: y"))
        return HostileFrame(encode_frame(encode_message(self._signed(values))), must_be_refused=False)

    def _hostile_param(self, param: str) -> str:
        depth = self._random.choice((10, 63, 64, 65, 10_000))
        digits = self._random.choice((20, 309, 4301, 10_000))
        inner = self._random.choice(
            (
                '"a":' + "[" * depth + "]" * depth,
                '"a":' + '{"a":' * depth + "1" + "}" * depth,
                '"temperature":' + "9" * digits,
                '"temperature":1e' + "9" * self._random.randint(1, 30),
                '"type":' + "9" * digits,
                '"recordTime":-1',
                '"recordTime":1e400',
                '"recordTime":0x' + "f" * digits,
                r'"personId":"\ud800"',
                r'"personId":"\u0000"',
                '"personId":"' + "人" * self._random.choice((64, 65, 4000)) + '"',
                r'"qrCodeInfo":{"type":"\udc00\ud800"}',
                '"healthInfo":"' + r"{\"healthCode\":1}" + '"',
                '"coordinate":{"longitude":NaN,"latitude":-Infinity}',
                '"coordinate":{"longitude":"180.0000001","latitude":90}',
                '"img":"' + "A" * self._random.choice((3, 4, 60_000)) + '"',
                '"img":"data:image/svg+xml;base64,PHN2Zz4="',
                '"$set":{"$where":"sleep(1000)"},"a.b":1,"__proto__":{}',
                r'"deviceVersion":"\u0000\ud83d\ude00","devicelp":"../../etc/passwd"',
                '"a":1,' * 300 + '"b":2',
                '"a":"' + self._noise(self._random.choice((1, 100, 5000))) + '"',
            )
        )
        whole = self._random.choice(
            (
                param[:-1] + "," + inner + "}",
                "{" + inner + "," + param[1:],
                "{" + inner + "}",
                param.replace('"', "'"),
                param[: self._random.randrange(1, len(param))],
                "[" + param + "]",
                "/*" * self._random.choice((1, 1000)) + param,
                "\ufeff" + param,
                param * 2,
            )
        )
        return whole.replace("{,", "{")

    def _wire_tricks(self) -> HostileFrame:
        """Protobuf that says the same in another way, or says what no field of the standard says."""
        values = self._values()
        fields = [encode_varint(n << 3 | TEXT) + _sized(value) for n, value in enumerate(values, start=1)]
        harmless = self._random.random() < 0.5
        extra = self._random.choice(
            (
                encode_varint(99 << 3 | TEXT) + _sized("unknown"),
                encode_varint(15 << 3 | 0) + b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                encode_varint(2**29 - 1 << 3 | 5) + b"1234",
            )
            if harmless
            else (
                b"\x00\x00",  # field number 0
                encode_varint(8 << 3 | 7),  # wire type 7
                encode_varint(1 << 3 | TEXT) + b"\xff\xff\xff\xff\x0f",  # 4 GiB long
                encode_varint(1 << 3 | TEXT) + b"\x02\xc3\x28",  # no UTF-8
                encode_varint(9 << 3 | 4),  # the end of a group that did not begin
                encode_varint(10 << 3 | 3) * 200,  # 200 groups in one another, without an end
                encode_varint(1 << 3 | TEXT) + b"\xff" * 11,  # a length without end
            )
        )
        if harmless:
            place = self._random.randrange(len(fields) + 1)
            self._random.shuffle(fields)  # the order of fields means nothing
            return HostileFrame(encode_frame(b"".join([*fields[:place], extra, *fields[place:]])), False)
        return HostileFrame(encode_frame(b"".join(fields) + extra), must_be_refused=True)

    def _forged_auth(self) -> HostileFrame:
        guess = "".join(self._random.choices(string.hexdigits, k=32))
        values = [VERSION, self._sn, "C_AUTH", self._vendor.access_id, self._vendor.access_key, time_stamp(), "{}"]
        if self._random.random() < 0.5:
            values[4] = guess
        return HostileFrame(encode_frame(encode_message([*values, sign(*values, guess)])), must_be_refused=True)

    def _random_bytes(self) -> HostileFrame:
        data = self._random.randbytes(self._random.choice((1, 10, 1000, 100_000)))
        return HostileFrame(encode_frame(data), must_be_refused=True)

    def _noise(self, length: int) -> str:
        return "".join(
            chr(self._random.choice((self._random.randint(0x20, 0x7F), 0x4EBA, 0x1F600))) for _ in range(length)
        )


def _sized(value: str) -> bytes:
    content = value.encode()
    return encode_varint(len(content)) + content
