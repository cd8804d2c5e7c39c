"""A platform for the simulator's tests: it reads requests and writes answers with protobuf's own runtime."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

from shared.protocol.generated.device.v1 import messages_pb2

TOKEN = "696e8019b6fe4dbcb7e5ced91a1c771c"

Request = messages_pb2.AuthRequest | messages_pb2.DeviceRequest


def read_requests(data: bytes) -> list[Request]:
    """The requests in some complete frames."""
    requests: list[Request] = []
    while data:
        size, start = read_length(data)
        message, data = data[start : start + size], data[start + size :]
        auth = messages_pb2.AuthRequest.FromString(message)
        requests.append(auth if auth.apicode == "C_AUTH" else messages_pb2.DeviceRequest.FromString(message))
    return requests


def whole_frames(data: bytes) -> int:
    """How many bytes at the head of the data are complete frames."""
    at = 0
    while at < len(data):
        size, start = read_length(data[at : at + 5])
        if start == 0 or at + start + size > len(data):
            break
        at += start + size
    return at


def read_length(data: bytes) -> tuple[int, int]:
    """The length in front of a frame, and where the frame starts; (0, 0) where the length is not complete."""
    size = 0
    for at, byte in enumerate(data):
        size |= (byte & 0x7F) << 7 * at
        if byte < 0x80:
            return size, at + 1
    return 0, 0


def write_answer(apicode: str, *, error: tuple[str, str] | None = None, response: str = "") -> bytes:
    """A framed answer: success, or the error (code, message)."""
    message = messages_pb2.Response(version="v1.0.0", success=error is None, apicode=apicode, response=response)
    if error is not None:
        message.error = json.dumps({"errorcode": error[0], "errmsg": error[1]}, ensure_ascii=False)
    content = message.SerializeToString()
    assert len(content) < 16384
    length = bytes([len(content)]) if len(content) < 128 else bytes([len(content) & 0x7F | 0x80, len(content) >> 7])
    return length + content


def accept(request: Request) -> bytes:
    """Success to whatever was asked."""
    responses = {"C_AUTH": json.dumps({"token": TOKEN}), "C_HEARTBEAT": "{}"}
    return write_answer(request.apicode, response=responses.get(request.apicode, ""))


Answering = Callable[[Request], bytes | None]


class ScriptedPlatform(asyncio.Protocol):
    """Answers each request over a real socket as the test's function says; None answers nothing, b"" closes."""

    def __init__(self, answering: Answering, requests: list[Request]) -> None:
        self._answering = answering
        self._requests = requests
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        whole = whole_frames(self._buffer)
        requests, self._buffer = read_requests(self._buffer[:whole]), self._buffer[whole:]
        for request in requests:
            if self._transport.is_closing():
                return
            self._requests.append(request)
            answer = self._answering(request)
            if answer == b"":
                self._transport.close()
            elif answer is not None:
                self._transport.write(answer)


@asynccontextmanager
async def platform(answering: Answering) -> AsyncIterator[tuple[int, list[Request]]]:
    """A platform on a free port: the port, and the requests as they arrive."""
    requests: list[Request] = []
    server = await asyncio.get_running_loop().create_server(
        lambda: ScriptedPlatform(answering, requests), "127.0.0.1", 0
    )
    async with server:
        yield server.sockets[0].getsockname()[1], requests
