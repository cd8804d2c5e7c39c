"""Where a corpus begins: inputs made of the vectors, and a few by hand."""

import json
from collections.abc import Iterator
from typing import Any

from shared.protocol.frames import encode_frame
from tests.fuzz.cursors import TOPICS
from tests.fuzz.reading import SEPARATOR, join_texts
from tests.fuzz.targets import ROOT
from tests.fuzz.verification import ACCESS_KEY, IS_AUTH, IS_ENDED, IS_SIGNED, SECRET, SIGNED_AS_OTHER, SN, TOKEN

VECTORS = ROOT / "tests" / "vectors"
STAMP = "20210328031608"


def seeds_of(target: str) -> list[bytes]:
    """The inputs; those of a hundred kilobytes, which some vectors hold on purpose, are left out."""
    return [seed for seed in _MAKERS[target]() if len(seed) <= 4096]


def _vectors(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))


def _hex(pair: list[str]) -> bytes:
    return bytes.fromhex(pair[0]) + pair[1].encode()


def _streams() -> Iterator[bytes]:
    for vector in _vectors("frames"):
        parts = (part.partition("*") for part in vector["stream"].split())
        stream = b"".join(bytes.fromhex(byte) * int(times or 1) for byte, _, times in parts)
        yield b"\x00\x00" + stream
        yield b"\xff\x07" + stream


def _messages() -> Iterator[bytes]:
    for vector in _vectors("messages"):
        first, *rest = vector["frame"]
        yield b"".join(_hex(pair) for pair in (rest if first[1] == "" else [first, *rest]))


def _frames() -> Iterator[bytes]:
    yield from _streams()
    for message in _messages():
        yield b"\xff\x05" + encode_frame(message) + encode_frame(message)


def _param_texts() -> Iterator[str]:
    for vector in _vectors("params"):
        if "text" in vector:
            yield vector["text"]
    sign_ins = _vectors("sign_ins")
    for vector in (each for part in sign_ins.values() if isinstance(part, list) for each in part):
        yield vector["param"]
    yield from ("{img:1,}", "{img:1,img:2 , }", '{"type":128,"personId":"1","recordTime":1}')


def _params() -> Iterator[bytes]:
    yield from (b"\x00" + text.encode() for text in _param_texts())
    yield from (b"\x01" + text.encode() for text in _param_texts())


def _sign_ins() -> Iterator[bytes]:
    yield from (text.encode() for text in _param_texts())


def _signatures() -> Iterator[bytes]:
    for text in _param_texts():
        yield SEPARATOR.join([text.encode(), b"{}", SECRET.encode()])


def _verification() -> Iterator[bytes]:
    for text in _param_texts():
        for apicode in ("C_SIGN_IN", "C_HEARTBEAT"):
            for flags in (IS_SIGNED, IS_SIGNED | 16, 0, SIGNED_AS_OTHER):
                yield join_texts(flags, "v1.0.0", SN, TOKEN, apicode, STAMP, text, "0" * 32)
    for text in ("{}", "", '{deviceVersion:""extendSn:""}'):
        for flags in (IS_SIGNED, 0, IS_ENDED | IS_SIGNED, SIGNED_AS_OTHER):
            for secret in ("", SECRET, "other"):
                yield join_texts(IS_AUTH | flags, "v1.0.0", SN, "id", ACCESS_KEY, secret, STAMP, text, "0" * 32)
    for text in ("{}", '{"deviceVersion":"1","devicelp":"10.0.0.1"}'):
        for stamp in (STAMP, "20210328032608", "20210328032609", "２０210328031608", "20211328031608"):
            yield join_texts(IS_SIGNED, "v1.0.0", SN, TOKEN, "C_HEARTBEAT", stamp, text, "0" * 32)


def _json_messages() -> Iterator[bytes]:
    vectors = _vectors("json_messages")
    for vector in (each for part in vectors.values() if isinstance(part, list) for each in part):
        if isinstance(vector.get("body"), str):
            yield vector["body"].encode()
    for vector in (each for part in _vectors("task_calls").values() if isinstance(part, list) for each in part):
        if isinstance(vector.get("body"), str):
            yield vector["body"].encode()


def _proxy_headers() -> Iterator[bytes]:
    v2 = b"\r\n\r\n\0\r\nQUIT\n"
    for header in (
        b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n",
        b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n",
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN anything at all\r\n",
        v2 + b"\x21\x11\x00\x0c" + bytes(range(12)),
        v2 + b"\x21\x21\x00\x24" + bytes(range(36)),
        v2 + b"\x20\x00\x00\x00",
        v2 + b"\x21\x11\x00\x13" + bytes(range(12)) + b"\x04\x00\x04abcd",
    ):
        yield b"\x00" + header + b"\x03abc"
        yield b"\x09" + header


def _byte_ranges() -> Iterator[bytes]:
    for value in ("bytes=0-9", "bytes=5-", "bytes=-5", "bytes=9-2", "bytes=0-1,3-4", "bytes=99999999999-", "x=1-2"):
        for condition in ("", '"0123456789abcdef"', 'W/"0123456789abcdef", "x"', "*"):
            yield join_texts(64, value, condition, condition)


def _cursors() -> Iterator[bytes]:
    from console_service.cursors import encode_cursor
    from console_service.live_positions import pack_positions

    cursor = encode_cursor("attendance", (1616872568000, "b6f3f0a4-5d3e-4f0e-9a86-2d1f6a3c7e51"))
    event_id = pack_positions(TOPICS, {(topic, number): 12345 * number for topic in TOPICS for number in range(3)})
    yield SEPARATOR.join([cursor.encode(), event_id.encode(), b"person", b"1616872568000", b"0" * 64])
    yield SEPARATOR.join([b".", b"AQ", b"../../etc/passwd", b"9" * 16, b""])


_MAKERS = {
    "frames": _frames,
    "messages": _messages,
    "params": _params,
    "sign_in": _sign_ins,
    "signatures": _signatures,
    "verification": _verification,
    "json_messages": _json_messages,
    "proxy_protocol": _proxy_headers,
    "byte_ranges": _byte_ranges,
    "cursors": _cursors,
}
