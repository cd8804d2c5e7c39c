"""The params of C_SIGN_IN and C_HEARTBEAT as values (J2, J3, J5, J6)."""

import binascii
import re
from collections.abc import Iterable

import msgspec
import pybase64

from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.json_text import compact, quoted, string_value
from shared.protocol.params import Param, has_control_character

_LARGEST_TYPE = 127  # all bits of 2.3.2: 1 face, 2 card, 4 health code, 8 identity card, 16 QR code, 32 iris, 64 mobile
_FIRST_MILLISECONDS = 10**11  # below it recordTime is in seconds (J5)
_MAX_AHEAD_MS = 24 * 60 * 60 * 1000
_MAX_ID_CHARACTERS = 64

# Types of 2.3.2's inner tables; travelMsg is text, whatever its row says (J2).
_QR_CODE_TEXTS = ("type", "codeColor", "codeValue", "cityCode")
_HEALTH_TEXTS = ("NADMsg", "travelMsg", "vaccineMsg")
_HEALTH_NUMBERS = ("healthCode", "NADCode", "travelCode", "vaccineStatus")

_KNOWN_MEMBERS = frozenset(
    (
        "personId",
        "type",
        "bitType",
        "qrCodeInfo",
        "img",
        "healthInfo",
        "recordTime",
        "temperature",
        "irisInfo",
        "coordinate",
    )
)

_WITHOUT_WHITE_SPACE = dict.fromkeys(b" \t\r\n\v\f")

_escapes = re.compile(r"\\(?:(ud[89a-f][0-9a-f]{2})|.)")


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """A passage as a terminal reports it (2.3)."""

    person_id: str
    type: int
    bit_type: int | None = None
    record_time_ms: int
    temperature: float | None = None
    coordinate: tuple[float, float] | None = None
    """Longitude, latitude, in degrees."""
    qr_code_info: str | None = None
    """The object as sent, as strict JSON text."""
    health_info: str | None = None
    """The object as sent, as strict JSON text."""
    iris_info: str | None = None
    picture: bytes | None = None
    picture_type: str | None = None
    """image/jpeg, …, told by the first bytes; application/octet-stream where they are unknown."""
    image_dropped: str | None = None
    """Why an img that was sent is not in `picture` (J6)."""
    extra: str | None = None
    """The members that the standard does not know, as the text of one strict JSON object (J5)."""


class Heartbeat(msgspec.Struct, frozen=True):
    """What a terminal may say of itself in a heartbeat (2.2)."""

    device_version: str | None
    device_ip: str | None


def read_heartbeat(param: Param) -> Heartbeat:
    """Raises ProtocolError (400_02) where a member is not text."""
    return Heartbeat(param.read_text("deviceVersion"), param.read_text("devicelp", "deviceIp"))


def read_sign_in(param: Param, now_ms: int) -> SignIn:
    """Raises ProtocolError (400_02), naming the member, where one is missing or is not what it must be."""
    person_id = _read_person_id(param)
    sign_in_type = _read_type(param, "type")
    if sign_in_type is None:
        raise ProtocolError(ErrorCode.PARAM, "type missing")
    record_time_ms = _read_record_time(param, now_ms)
    bit_type = _read_type(param, "bitType")
    temperature = param.read_number("temperature")
    coordinate = _read_coordinate(param)
    qr_code_info = _read_kept_object(param, "qrCodeInfo", _QR_CODE_TEXTS, ())
    health_info = _read_kept_object(param, "healthInfo", _HEALTH_TEXTS, _HEALTH_NUMBERS)
    iris_info = param.read_text("irisInfo") or None
    # Last, since it is the costly one: a param that is refused need not have its picture decoded.
    picture, image_dropped = _read_picture(param)
    return SignIn(
        person_id=person_id,
        type=sign_in_type,
        bit_type=bit_type,
        record_time_ms=record_time_ms,
        temperature=temperature,
        coordinate=coordinate,
        qr_code_info=qr_code_info,
        health_info=health_info,
        iris_info=iris_info,
        picture=picture,
        picture_type=None if picture is None else _picture_type(picture),
        image_dropped=image_dropped,
        extra=_read_extra(param),
    )


def _read_person_id(param: Param) -> str:
    person_id = param.read_text("personId")
    if person_id is None:
        raise ProtocolError(ErrorCode.PARAM, "personId missing")
    if not 1 <= len(person_id) <= _MAX_ID_CHARACTERS:
        raise ProtocolError(ErrorCode.PARAM, f"personId must be 1 to {_MAX_ID_CHARACTERS} characters")
    if has_control_character(person_id):
        raise ProtocolError(ErrorCode.PARAM, "personId holds a control character")
    return person_id


def _read_type(param: Param, name: str) -> int | None:
    value = param.read_whole_number(name)
    if value is not None and not 1 <= value <= _LARGEST_TYPE:
        raise ProtocolError(ErrorCode.PARAM, f"{name} must be 1..{_LARGEST_TYPE}")
    return value


def _read_record_time(param: Param, now_ms: int) -> int:
    value = param.read_whole_number("recordTime")
    if value is None:
        raise ProtocolError(ErrorCode.PARAM, "recordTime missing")
    if value <= 0:
        raise ProtocolError(ErrorCode.PARAM, "recordTime must be above 0")
    record_time_ms = value * 1000 if value < _FIRST_MILLISECONDS else value
    if record_time_ms > now_ms + _MAX_AHEAD_MS:
        raise ProtocolError(ErrorCode.PARAM, "recordTime is more than 24 hours ahead")
    return record_time_ms


def _read_coordinate(param: Param) -> tuple[float, float] | None:
    coordinate = param.read_object("coordinate")
    if coordinate is None:
        return None
    longitude, latitude = coordinate.read_number("longitude"), coordinate.read_number("latitude")
    if longitude is None and latitude is None:
        return None  # a terminal without a fix
    return _checked_degrees(longitude, "longitude", 180), _checked_degrees(latitude, "latitude", 90)


def _checked_degrees(degrees: float | None, name: str, limit: int) -> float:
    if degrees is None:
        raise ProtocolError(ErrorCode.PARAM, f"{name} missing")
    if not -limit <= degrees <= limit:
        raise ProtocolError(ErrorCode.PARAM, f"{name} must be -{limit}..{limit}")
    return degrees


def _read_kept_object(param: Param, name: str, texts: Iterable[str], numbers: Iterable[str]) -> str | None:
    kept = param.read_object(name)
    if kept is None:
        return None
    try:
        for text in texts:
            kept.check_is_text(text)
        for number in numbers:
            kept.read_number(number)
    except ProtocolError as error:
        raise ProtocolError(error.code, f"{name}: {error.detail}") from error
    text = compact(kept.text, strict_numbers=True)
    # The event stands in Kafka for any consumer, and many a JSON library (msgspec too) refuses half a surrogate pair.
    return _escapes.sub(lambda escape: "\ufffd" if escape[1] else escape[0], text) if "\\ud" in text else text


def _read_extra(param: Param) -> str | None:
    if param.names <= _KNOWN_MEMBERS:
        return None
    unknown = {member.name: member for member in param.members if member.name not in _KNOWN_MEMBERS}
    written = [
        f"{quoted(member.name)}:{compact(param.text, member.value_start, strict_numbers=True)}"
        for member in unknown.values()
    ]
    return "{" + ",".join(written) + "}"


def _read_picture(param: Param) -> tuple[bytes | None, str | None]:
    """The picture, or why an img that was sent gives none (J6); neither where there is no img, or an empty one."""
    member = param.get("img")
    if member is None or param.text.startswith("null", member.value_start):
        return None, None
    if param.text[member.value_start] not in "\"'":
        return None, "img is not text"
    encoded = string_value(param.text, member.value_start, member.end)
    if encoded[:5].lower() == "data:":
        header, _, encoded = encoded.partition(",")
        if not header.lower().endswith(";base64"):
            return None, "img is a data URI without base64"
    try:
        picture = _decode_base64(encoded)
    except ValueError:
        return None, "img is not base64"
    return picture or None, None


def _decode_base64(encoded: str) -> bytes:
    """The standard alphabet, as RFC 4648 has it; line breaks and white space are passed over, and missing padding is
    made up for. Raises ValueError."""
    try:
        return pybase64.b64decode(encoded, validate=True)  # 3 µs for a picture of 30 KB; binascii takes 80
    except ValueError:
        if not encoded.isascii():
            raise
        encoded = encoded.translate(_WITHOUT_WHITE_SPACE)
        return binascii.a2b_base64(encoded + "=" * (-len(encoded) % 4), strict_mode=True)


def _picture_type(picture: bytes) -> str:
    if picture.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if picture.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if picture.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if picture.startswith(b"BM"):
        return "image/bmp"
    if picture.startswith(b"RIFF") and picture[8:12] == b"WEBP":
        return "image/webp"
    return "application/octet-stream"
