"""Bytes on the wire: frames (a Base-128 varint length before each message) and the proto3 messages inside them.

Field numbers are the row numbers of the standard's tables. Nothing here knows a socket.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MAX_ANSWER_BYTES = 1024 * 1024
"""No answer of the standard comes near this; a longer one means that the peer speaks something else."""

_json = json.JSONDecoder()

VARINT, FIXED64, TEXT, FIXED32 = 0, 1, 2, 5


class MalformedAnswer(Exception):
    """The platform sent bytes that are not an answer of the standard; the text says what is wrong with them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, or a command that the platform pushes: both have this form."""

    version: str
    success: bool
    apicode: str
    error: dict[str, Any] | None
    response: dict[str, Any] | None

    @property
    def errorcode(self) -> str:
        """Such as `400_04`; empty on success."""
        return str((self.error or {}).get("errorcode", ""))

    @property
    def errmsg(self) -> str:
        """The platform's text beside the code."""
        return str((self.error or {}).get("errmsg", ""))


def encode_varint(number: int) -> bytes:
    """The Base-128 varint of a number, least significant group first."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def encode_message(values: Sequence[str]) -> bytes:
    """A proto3 message whose string fields 1, 2, 3, … are the values; an empty string is left out, as proto3 says."""
    parts: list[bytes] = []
    for number, value in enumerate(values, start=1):
        if value:
            content = value.encode()
            parts += (encode_varint(number << 3 | TEXT), encode_varint(len(content)), content)
    return b"".join(parts)


def encode_frame(message: bytes) -> bytes:
    """The message with its length before it."""
    return encode_varint(len(message)) + message


class FrameReader:
    """Cuts what arrives into frames, wherever it was split."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that are complete now, in order. Raises MalformedAnswer on a length no answer can have."""
        self._buffer += data
        frames: list[bytes] = []
        start = 0
        while (length := _read_varint(self._buffer, start)) is not None:
            size, content = length
            if size > MAX_ANSWER_BYTES:
                raise MalformedAnswer(f"a frame announces {size} bytes, more than any answer has")
            if len(self._buffer) < content + size:
                break
            frames.append(bytes(self._buffer[content : content + size]))
            start = content + size
        del self._buffer[:start]
        return frames


def decode_answer(message: bytes) -> Answer:
    """Reads an answer: 1 version, 2 success, 3 apicode, 4 error, 5 response. Raises MalformedAnswer."""
    fields = _read_fields(message)
    return Answer(
        version=_text(fields, 1, "version"),
        success=_flag(fields, 2, "success"),
        apicode=_text(fields, 3, "apicode"),
        error=_object(fields, 4, "error"),
        response=_object(fields, 5, "response"),
    )


def read_members(body: bytes) -> tuple[dict[str, str], dict[str, Any]]:
    """The members of a JSON object, each as the text that stands there and as what it says. Raises MalformedAnswer."""
    try:
        text = body.decode()
        texts: dict[str, str] = {}
        place = _after_space(text, 0)
        if text[place] != "{":
            raise MalformedAnswer("the answer is not a JSON object")
        place = _after_space(text, place + 1)
        while text[place] != "}":
            name, place = _json.raw_decode(text, place)
            place = _after_space(text, place)
            if text[place] != ":":
                raise MalformedAnswer("the answer is not JSON")
            start = _after_space(text, place + 1)
            _, place = _json.raw_decode(text, start)
            texts[name] = text[start:place]
            place = _after_space(text, place)
            if text[place] == ",":
                place = _after_space(text, place + 1)
        return texts, json.loads(text)
    except (ValueError, IndexError) as error:
        raise MalformedAnswer("the answer is not JSON") from error


def _after_space(text: str, place: int) -> int:
    while text[place] in " \t\r\n":
        place += 1
    return place


def _read_varint(data: bytes | bytearray, start: int) -> tuple[int, int] | None:
    """The number and the place after it; None where it is not complete."""
    number = shift = 0
    for place in range(start, min(len(data), start + 10)):
        number |= (data[place] & 0x7F) << shift
        if data[place] < 0x80:
            return number, place + 1
        shift += 7
    if len(data) - start >= 10:
        raise MalformedAnswer("a varint longer than 10 bytes")
    return None


def _read_fields(message: bytes) -> dict[int, int | bytes]:
    """Field number to value; the last of a repeated field wins, as proto3 says."""
    fields: dict[int, int | bytes] = {}
    place = 0
    while place < len(message):
        tag, place = _varint_at(message, place)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            fields[number], place = _varint_at(message, place)
            continue
        if kind == TEXT:
            size, place = _varint_at(message, place)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise MalformedAnswer(f"field {number} has wire type {kind}, which proto3 does not use")
        if place + size > len(message):
            raise MalformedAnswer(f"field {number} ends behind its message")
        fields[number] = message[place : place + size]
        place += size
    return fields


def _varint_at(message: bytes, place: int) -> tuple[int, int]:
    found = _read_varint(message, place)
    if found is None:
        raise MalformedAnswer("the message ends inside a varint")
    return found


def _text(fields: dict[int, int | bytes], number: int, name: str) -> str:
    value = fields.get(number, b"")
    if isinstance(value, int):
        raise MalformedAnswer(f"field {number} ({name}) is a number, not a string")
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise MalformedAnswer(f"field {number} ({name}) is not UTF-8") from error


def _flag(fields: dict[int, int | bytes], number: int, name: str) -> bool:
    value = fields.get(number, 0)
    if not isinstance(value, int):
        raise MalformedAnswer(f"field {number} ({name}) is not a boolean")
    return value != 0


def _object(fields: dict[int, int | bytes], number: int, name: str) -> dict[str, Any] | None:
    text = _text(fields, number, name)
    if not text:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise MalformedAnswer(f"field {number} ({name}) is not JSON") from error
    if not isinstance(value, dict):
        raise MalformedAnswer(f"field {number} ({name}) is not a JSON object")
    return value
