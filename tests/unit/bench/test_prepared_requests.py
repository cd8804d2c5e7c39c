"""Requests over HTTPS as bytes, and the echo that answers them."""

import hashlib
import json

from tests.bench.echo_server import _HttpsEcho
from tests.bench.ingress_alone import Transport
from tests.bench.prepared_requests import RequestLine

HOST = "127.0.0.1:8443"
REQUEST = RequestLine(HOST, "sn-1", "t" * 32, "secret").request("T_SEND_PERSON", {"currentPage": 1}, "654")


def test_a_request_is_whole_and_says_its_length_last() -> None:
    head, _, body = REQUEST.partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"POST /api/device HTTP/1.1"
    assert head.split(b"\r\n")[1:] == [
        b"Host: 127.0.0.1:8443",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(body),
    ]


def test_s2_a_request_is_signed_with_its_task_id_and_param() -> None:
    body = json.loads(REQUEST.partition(b"\r\n\r\n")[2])
    signed = "v1.0.0" + "sn-1" + "t" * 32 + "654" + "T_SEND_PERSON" + '{"currentPage":1}' + "secret"
    assert body["sign"] == hashlib.md5(signed.encode(), usedforsecurity=False).hexdigest()
    assert (body["taskid"], body["param"]) == ("654", {"currentPage": 1})


def test_the_echo_answers_each_request_once_however_they_arrive() -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    for split in range(1, 2 * len(REQUEST)):
        transport, echo = Transport(), _HttpsEcho(b"{}")
        echo.connection_made(transport)
        sent = REQUEST * 2
        echo.data_received(sent[:split])
        assert transport.written == answer * (split // len(REQUEST))
        echo.data_received(sent[split:])
        assert transport.written == answer * 2
