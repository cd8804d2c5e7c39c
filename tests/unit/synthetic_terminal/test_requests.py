"""What the synthetic terminal sends, read by protobuf's own runtime, its signatures computed by hand (S1, S2)."""

import hashlib
import json

from shared.protocol.generated.device.v1 import messages_pb2
from synthetic_terminal.requests import auth_frame, event_id, sign_in_frame
from terminal_simulator.habits import Account
from tests.support import operators
from tests.unit.synthetic_terminal.measured import NOW_MS, SECRET
from tests.unit.terminal_simulator.scripted_platform import read_requests

ACCOUNT = Account("access-id", "access-key", SECRET)
STAMP = "20261124140000"


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def test_s2_c_auth_is_signed_over_its_fields_and_the_secret() -> None:
    (request,) = read_requests(auth_frame("SN1", ACCOUNT, NOW_MS))
    assert isinstance(request, messages_pb2.AuthRequest)
    assert (request.sn, request.access_id, request.access_key) == ("SN1", "access-id", "access-key")
    # the layout of the table (2.1.2): timeStamp, param, sign
    assert (request.field_6, request.field_7, request.HasField("field_9")) == (STAMP, "", False)
    assert request.field_8 == md5(f"v1.0.0SN1C_AUTHaccess-idaccess-key{STAMP}{SECRET}")


def test_j5_a_sign_in_has_the_members_that_are_required_and_the_record_time_of_this_moment() -> None:
    (request,) = read_requests(sign_in_frame("SN1", ACCOUNT, "a" * 32, NOW_MS, NOW_MS + 900))
    assert isinstance(request, messages_pb2.DeviceRequest)
    param = json.loads(request.param)
    assert param == {"personId": "SYNTHETIC", "type": 2, "recordTime": NOW_MS}
    assert request.time_stamp == "20261124140001"
    assert request.sign == md5(f"v1.0.0SN1{'a' * 32}C_SIGN_IN20261124140001{request.param}{SECRET}")


def test_design_2_the_id_is_known_from_what_was_sent() -> None:
    assert event_id("SN1", NOW_MS) == operators.event_id("SN1", "SYNTHETIC", NOW_MS, 2)
    assert event_id("SN1", NOW_MS + 1) != event_id("SN1", NOW_MS)
