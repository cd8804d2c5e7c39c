"""Frames as messages (M1 to M6, F4): any bytes are a request or a 400_02, and what was read is what was sent."""

from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.messages import AuthRequest, decode_request, error_response, success_response
from terminal_simulator.wire import decode_answer, encode_message
from tests.fuzz.reading import outcome_of


def check(data: bytes) -> None:
    """The input is one frame."""
    request = outcome_of(lambda: decode_request(data))
    if isinstance(request, ProtocolError):
        assert request.code is ErrorCode.PARAM
        answer = decode_answer(error_response(None, request))
        assert (answer.errorcode, answer.apicode, answer.version) == ("400_02", "", "v1.0.0")
        return
    values = [request.version, request.sn]
    if isinstance(request, AuthRequest):
        assert request.apicode == "C_AUTH"
        secret = [] if request.access_secret is None else [request.access_secret]
        values += [request.apicode, request.access_id, request.access_key, *secret]
    else:
        assert request.token != "C_AUTH"
        values += [request.token, request.apicode]
    values += [request.time_stamp, request.param, request.sign]
    # A ninth value that is empty is present all the same, which a writer that leaves out empty values cannot say.
    if not (isinstance(request, AuthRequest) and request.access_secret is not None and not request.sign):
        assert decode_request(encode_message(values)) == request
    answer = decode_answer(success_response(request, '{"taskids":["1"]}'))
    assert (answer.version, answer.apicode) == (request.version or "v1.0.0", request.apicode)
    refusal = decode_answer(error_response(request, ProtocolError(ErrorCode.PARAM, request.param[:50])))
    assert refusal.errmsg.endswith(request.param[:50])
    assert not refusal.success
