"""Answers that are sent piece by piece, and a bound on how many there are at once."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, contextmanager

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from shared.runtime.problems import RETRY_AFTER_SECONDS, Problem


class Streamed(StreamingResponse):
    """Sends what an async generator gives, as fast as the reader takes it.

    What goes wrong before the first piece is answered as it is anywhere else. What goes wrong later breaks the
    connection off, so that nobody takes a part for the whole. However it ends, the generator is closed.
    """

    def __init__(self, pieces: AsyncGenerator[bytes], media_type: str, headers: Mapping[str, str]) -> None:
        super().__init__(pieces, headers=headers, media_type=media_type)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._pieces):
            first = await anext(self._pieces)
            self.body_iterator = _with_first(first, self._pieces)
            await super().__call__(scope, receive, send)


async def _with_first(first: bytes, others: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in others:
        yield piece


class Slots:
    """How many of a kind go on at once in this process (design rule 7)."""

    def __init__(self, most: int) -> None:
        self.taken = 0
        self._most = most

    @contextmanager
    def take(self, what: str) -> Iterator[None]:
        """One of them is taken while the context is open. Raises Problem (503)."""
        if self.taken >= self._most:
            raise Problem(503, f"too many {what} at once; please try again", {"Retry-After": str(RETRY_AFTER_SECONDS)})
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
