"""The front door as a terminal meets it: a new connection each time, a frame, its answer."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from synthetic_terminal.metrics import ERROR_CODES, REFUSED_CONNECTION, UNANSWERED
from terminal_simulator.line import Address
from terminal_simulator.wire import Answer, FrameReader, MalformedAnswer, decode_answer

READ_BYTES = 65_536


class Failed(Exception):
    """The sign-in came to nothing; `outcome` is one of metrics.OUTCOMES."""

    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome


class Connection:
    """One connection, on which one request at a time waits for its answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout_seconds: float) -> None:
        self._reader = reader
        self._writer = writer
        self._timeout_seconds = timeout_seconds
        self._frames = FrameReader()

    async def ask(self, frame: bytes) -> Answer:
        """The answer of success. Raises Failed where it is none, or does not come in time."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                self._writer.write(frame)
                answer = await self._answer()
        except TimeoutError:
            raise Failed(UNANSWERED, f"no answer within {self._timeout_seconds:g} s") from None
        except OSError as error:
            raise Failed(UNANSWERED, f"the connection broke: {type(error).__name__}") from error
        except MalformedAnswer as error:
            raise Failed(UNANSWERED, f"no answer of the standard: {error}") from error
        if answer.success:
            return answer
        if answer.errorcode not in ERROR_CODES:
            raise Failed(UNANSWERED, "an error whose code the standard does not have")
        raise Failed(answer.errorcode, answer.errmsg)

    async def _answer(self) -> Answer:
        while True:
            data = await self._reader.read(READ_BYTES)
            if not data:
                raise ConnectionResetError("closed instead of an answer")
            for message in self._frames.feed(data):
                answer = decode_answer(message)
                if not answer.apicode.startswith("T_"):  # a command may be pushed between answers
                    return answer


@asynccontextmanager
async def connected(address: Address, timeout_seconds: float) -> AsyncIterator[Connection]:
    """A connection, closed at the end. Raises Failed where none comes about."""
    try:
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await asyncio.open_connection(address.host, address.port, ssl=address.tls)
    except (TimeoutError, OSError) as error:
        raise Failed(REFUSED_CONNECTION, f"no connection: {type(error).__name__}") from error
    try:
        yield Connection(reader, writer, timeout_seconds)
    finally:
        writer.close()


def read_address(host: str, port: int, *, tls: bool, ca_file: str | None) -> Address:
    """The front door's. Raises OSError where the authority's file cannot be read."""
    return Address(host, port, ssl.create_default_context(cafile=ca_file) if tls else None)
