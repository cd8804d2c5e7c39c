"""A device that does what a test tells it, over a real socket, with the simulator's code and never the server's."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

from terminal_simulator.wire import Answer, FrameReader, decode_answer, encode_frame
from tests.support.builders import Credentials, make_auth

ANSWER_SECONDS = 10.0


class Terminal:
    """One connection to the platform; what it sends and when is the test's affair."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._frames = FrameReader()
        self._received: list[bytes] = []

    async def authenticate(self, vendor: Credentials, sn: str, *, nine_fields: bool = False, param: str = "{}") -> str:
        """C_AUTH; gives the token. Raises AssertionError with the platform's error where it refuses."""
        await self.send(make_auth(vendor, sn, nine_fields=nine_fields, param=param))
        answer = await self.receive()
        assert answer.success, f"C_AUTH was refused: {answer.error}"
        assert answer.response is not None
        return str(answer.response["token"])

    async def send(self, *messages: bytes) -> None:
        """Sends each message as a frame, all in one write."""
        await self.send_raw(b"".join(encode_frame(message) for message in messages))

    async def send_raw(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self, timeout_seconds: float = ANSWER_SECONDS) -> Answer:
        """The next answer or pushed command. Raises TimeoutError, or ConnectionError where the peer has closed."""
        async with asyncio.timeout(timeout_seconds):
            while not self._received:
                data = await self._reader.read(65536)
                if not data:
                    raise ConnectionResetError("the platform closed the connection instead of answering")
                self._received += self._frames.feed(data)
        return decode_answer(self._received.pop(0))

    async def ask(self, message: bytes) -> Answer:
        """Sends one message and gives its answer."""
        await self.send(message)
        return await self.receive()

    async def closed_by_peer(self, timeout_seconds: float = ANSWER_SECONDS) -> bool:
        """True where the platform closes within the time and sends nothing more before."""
        try:
            async with asyncio.timeout(timeout_seconds):
                return not self._received and await self._reader.read(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    def send_no_more(self) -> None:
        """Half-closes: the platform reads the end, and may still answer (F4)."""
        self._writer.write_eof()

    def reset(self) -> None:
        """Ends the connection abruptly, as a power cut does."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Ends the connection."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            pass  # the peer was faster; closed is closed

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


@asynccontextmanager
async def connect(host: str, port: int, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Terminal]:
    """A connected terminal, closed when the block ends."""
    reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    async with Terminal(reader, writer) as terminal:
        yield terminal
