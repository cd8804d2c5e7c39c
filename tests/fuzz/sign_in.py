"""Params of C_SIGN_IN and C_HEARTBEAT as values (J2 to J6), on to the event that Kafka gets: what is accepted is in
range, and what is written can be read back."""

import base64
import json
from datetime import UTC, datetime

from shared.domain.attendance import Coordinate
from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.params import parse_param
from shared.protocol.sign_in import SignIn, read_heartbeat, read_sign_in
from tests.fuzz.reading import outcome_of
from tests.fuzz.strict_json import members_of

NOW_MS = 1616872568000
DAY_MS = 86_400_000


def check(data: bytes) -> None:
    """The input is one param."""
    text = data.decode("utf-8", "replace")
    param = outcome_of(lambda: parse_param(text))
    if isinstance(param, ProtocolError):
        return
    heartbeat = outcome_of(lambda: read_heartbeat(param))
    assert not isinstance(heartbeat, ProtocolError) or heartbeat.code is ErrorCode.PARAM
    sign_in = outcome_of(lambda: read_sign_in(param, NOW_MS))
    if isinstance(sign_in, ProtocolError):
        assert sign_in.code is ErrorCode.PARAM
        return
    _check_ranges(sign_in)
    for kept in (sign_in.qr_code_info, sign_in.health_info, sign_in.extra):
        assert kept is None or isinstance(json.loads(kept), dict)
        assert kept is None or kept.encode()
    assert sign_in.picture is None or sign_in.image_dropped is None
    reference = members_of(text)
    if reference is not None and sign_in.picture is not None:
        _check_picture(sign_in.picture, str(reference["img"]))


def _check_ranges(sign_in: SignIn) -> None:
    assert 1 <= len(sign_in.person_id) <= 64
    assert sign_in.person_id.isprintable() or not any(ord(each) < 32 for each in sign_in.person_id)
    assert 1 <= sign_in.type <= 127
    assert sign_in.bit_type is None or 1 <= sign_in.bit_type <= 127
    assert 0 < sign_in.record_time_ms <= NOW_MS + DAY_MS
    assert datetime.fromtimestamp(sign_in.record_time_ms / 1000, UTC).year <= 2021
    assert sign_in.temperature is None or abs(sign_in.temperature) < float("inf")
    if sign_in.coordinate is not None:
        coordinate = Coordinate(*sign_in.coordinate)
        assert -180 <= coordinate.longitude <= 180
        assert -90 <= coordinate.latitude <= 90


def _check_picture(picture: bytes, img: str) -> None:
    """By the other decoder of base64: it says the same of what is well formed."""
    if img[:5].lower() == "data:":
        img = img.partition(",")[2]
    bare = "".join(img.split())
    assert base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True) == picture
