"""Requests over HTTPS, signed and written whole before a measurement, as generator/https.go sends them."""

from tests.support.task_api import make_body


def write_request(host: str, body: bytes) -> bytes:
    """A POST on a connection that is kept; Content-Length stands last, where echo_server.py looks for it."""
    head = f"POST /api/device HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class RequestLine:
    """What the requests of one device are made with."""

    def __init__(self, host: str, sn: str, token: str, secret: str) -> None:
        self.sn = sn
        self._host = host
        self._token = token
        self._secret = secret

    def request(self, apicode: str, param: object, task_id: str | None = None) -> bytes:
        """A call of an interface, with the text of param as it stands signed."""
        body = make_body(apicode, param, sn=self.sn, token=self._token, task_id=task_id, secret=self._secret)
        return write_request(self._host, body)
