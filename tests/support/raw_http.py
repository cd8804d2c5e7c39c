"""HTTP as an attacker writes it: bytes on a socket, and the answers as they stand there, each header line by itself."""

import asyncio
import ssl
from dataclasses import dataclass

HOST = "127.0.0.1"


@dataclass(frozen=True)
class RawAnswer:
    """One answer; a header that came twice is there twice."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """The values of a header, in order; names are lower-case."""
        return [value for each, value in self.headers if each == name]


async def exchange(
    port: int, data: bytes, *, tls: ssl.SSLContext | None = None, timeout_seconds: float = 20
) -> list[RawAnswer]:
    """Sends the bytes, and no more; the answers until the server closes, or nothing comes for a moment after one."""
    reader, writer = await asyncio.open_connection(HOST, port, ssl=tls, server_hostname=HOST if tls else None)
    answers: list[RawAnswer] = []
    try:
        writer.write(data)
        await writer.drain()
        while True:
            answer = await asyncio.wait_for(_answer(reader), 1 if answers else timeout_seconds)
            if answer is None:
                return answers
            answers.append(answer)
    except (TimeoutError, ConnectionError):
        return answers
    finally:
        writer.transport.abort()


async def _answer(reader: asyncio.StreamReader) -> RawAnswer | None:
    head = await _until(reader, b"\r\n\r\n")
    if not head:
        return None
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    status = int(first.split(" ")[1])
    lengths = [int(value) for name, value in headers if name == "content-length"]
    if lengths:
        body = await reader.readexactly(lengths[0])
    elif ("transfer-encoding", "chunked") in headers:
        body = await _chunks(reader)
    else:
        body = b""
    return RawAnswer(status, headers, body)


async def _until(reader: asyncio.StreamReader, end: bytes) -> bytes:
    try:
        return await reader.readuntil(end)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise AssertionError(f"half an answer: {error.partial[:200]!r}") from error
        return b""


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return body


def request(
    method: str,
    target: str,
    *headers: str,
    body: bytes = b"",
    host: str = HOST,
    content_length: bool = True,
    keep_alive: bool = False,
) -> bytes:
    """A request of these lines, written as they are; the last of its connection, unless `keep_alive`."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers]
    if not keep_alive:
        lines.append("Connection: close")
    if content_length and (body or method in ("POST", "PUT", "PATCH")):
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "surrogateescape") + body
