"""The checks of C_AUTH, C_HEARTBEAT and C_SIGN_IN (E2): nothing passes without a right sign, which is computed here
apart from the code under test, and what has one and no other fault passes."""

from datetime import datetime, timedelta, timezone

from shared.protocol.errors import ProtocolError
from shared.protocol.messages import AuthRequest, DeviceRequest
from shared.protocol.signatures import SignForm
from shared.protocol.verification import AuthFacts, SessionFacts, Verified, check_head, verify_auth, verify_request
from tests.fuzz.reading import outcome_of, split_texts
from tests.fuzz.strict_json import members_of, signed_texts
from tests.unit.shared.protocol.test_signatures import md5

SN, TOKEN, SECRET = "1388186", "696e8019b6fe4dbcb7e5ced91a1c771c", "93f6218530984c32a3bf2b3d03dcb417"
ACCESS_KEY = "a9f88d5b5f4e4c94962ee3feaa85cdc3"
NOW_MS, WINDOW_SECONDS = 1616872568000, 600
NOW = datetime(2021, 3, 28, 3, 16, 8, tzinfo=timezone(timedelta(hours=8)))

IS_AUTH, IS_SIGNED, SIGNED_AS_OTHER, IS_ENDED = 1, 2, 4, 8


def check(data: bytes) -> None:
    """The first byte says what is sent and by whom: someone who knows the secret, or someone who does not."""
    flags = data[0] if data else 0
    if flags & IS_AUTH:
        _check_auth(flags, data[1:])
    else:
        _check_request(flags, data[1:])


def _check_request(flags: int, data: bytes) -> None:
    version, sn, token, apicode, stamp, param, sign = split_texts(data, 7)
    head = version + sn + token + apicode + stamp
    right = _right_signs(head, param, without_img=apicode == "C_SIGN_IN")
    if flags & IS_SIGNED:
        sign = sorted(right)[(flags >> 4) % len(right)]
    elif flags & SIGNED_AS_OTHER:
        sign = md5(head + "{}" + SECRET)
    request = DeviceRequest(
        version=version, sn=sn, token=token, apicode=apicode, time_stamp=stamp, param=param, sign=sign
    )
    session = SessionFacts(
        sn=SN,
        access_secret=SECRET,
        ended=bool(flags & IS_ENDED),
        window_seconds=WINDOW_SECONDS,
        pinned=None,
        remembered=None,
    )
    faultless = (
        sn == SN
        and token == TOKEN
        and not flags & IS_ENDED
        and apicode in ("C_HEARTBEAT", "C_SIGN_IN")
        and _is_in_window(stamp)
        and sign.lower() in right
    )

    def verified() -> Verified:
        check_head(request)
        return verify_request(request, session if token == TOKEN else None, NOW_MS)

    outcome = outcome_of(verified)
    if isinstance(outcome, ProtocolError):
        assert SECRET not in outcome.errmsg
        assert not (faultless and _is_small_object(param)), outcome
        return
    assert faultless or (members_of(param) is None and flags & (IS_SIGNED | SIGNED_AS_OTHER))
    assert outcome.param.text == param


def _check_auth(flags: int, data: bytes) -> None:
    version, sn, access_id, access_key, access_secret, stamp, param, sign = split_texts(data, 8)
    head = version + sn + "C_AUTH" + access_id + access_key + stamp
    right = {*_right_signs(head, param, without_img=False), md5(head + SECRET)}
    if flags & IS_SIGNED:
        sign = sorted(right)[(flags >> 4) % len(right)]
    elif flags & SIGNED_AS_OTHER:
        sign = md5(head + "{}" + SECRET)
    request = AuthRequest(
        version=version,
        sn=sn,
        apicode="C_AUTH",
        access_id=access_id,
        access_key=access_key,
        access_secret=access_secret or None,
        time_stamp=stamp,
        param=param,
        sign=sign,
    )
    facts = AuthFacts(
        access_key=ACCESS_KEY,
        access_secret=SECRET,
        active=not flags & IS_ENDED,
        bound_elsewhere=False,
        device_enabled=True,
        window_seconds=WINDOW_SECONDS,
        sign_form=None,
    )
    faultless = (
        access_key == ACCESS_KEY
        and access_secret in ("", SECRET)
        and not flags & IS_ENDED
        and _is_in_window(stamp)
        and sign.lower() in right
    )

    def verified() -> SignForm:
        check_head(request)
        return verify_auth(request, facts, NOW_MS)

    outcome = outcome_of(verified)
    if isinstance(outcome, ProtocolError):
        assert SECRET not in outcome.errmsg
        is_object = not param or _is_small_object(param)
        plain_sn = 1 <= len(sn) <= 64 and not any(ord(each) < 32 or ord(each) == 127 for each in sn)
        assert not (faultless and is_object and plain_sn), outcome
        return
    assert faultless or (members_of(param) is None and flags & (IS_SIGNED | SIGNED_AS_OTHER))


def _right_signs(head: str, param: str, *, without_img: bool) -> set[str]:
    """Of a text that is no strict object the sign over it as it stands; it may still be refused, or cut."""
    members = members_of(param)
    texts = {param} if members is None else signed_texts(param, members, without_img=without_img)
    return {md5(head + text + SECRET) for text in texts}


def _is_small_object(param: str) -> bool:
    return members_of(param) is not None and len(param.encode()) < 20_000


def _is_in_window(stamp: str) -> bool:
    if not (len(stamp) == 14 and stamp.isascii() and stamp.isdecimal()):
        return False
    try:
        moment = datetime.strptime(stamp, "%Y%m%d%H%M%S").replace(tzinfo=NOW.tzinfo)
    except ValueError:
        return False
    return abs(moment - NOW) <= timedelta(seconds=WINDOW_SECONDS)
