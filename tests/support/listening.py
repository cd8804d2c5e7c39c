"""The listeners of an ingress with nothing behind them: what a terminal sees of accepting, serving and leaving."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr

from shared.protocol.errors import ProtocolError
from shared.protocol.messages import AuthRequest, DeviceRequest, error_response, success_response
from shared.runtime.lifecycle import Lifecycle
from stack.ports import free_port
from tcp_ingress.handlers import Answer, Done
from tcp_ingress.listeners import open_listeners
from tcp_ingress.metrics import IngressMetrics
from tcp_ingress.server import Server
from tcp_ingress.settings import IngressSettings
from terminal_simulator.wire import encode_message

HOST = "127.0.0.1"
NEVER = "never"
"""The sn whose sign-ins are never answered."""


def message(apicode: str, sn: str = "sn") -> bytes:
    """A request as far as these listeners look at it."""
    return encode_message(["v1", sn, "0" * 32, apicode, "20261124150000", "{}", "sign"])


class SlowHandlers:
    """Answers heartbeats at once and sign-ins after a while; notes the addresses that terminals are said to have."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.addresses: list[str] = []

    def handle(self, request: AuthRequest | DeviceRequest, peer: object, done: Done) -> Answer | None:
        if request.apicode == "C_HEARTBEAT":
            return Answer(success_response(request, "{}"), alive=True)
        self.addresses.append(str(getattr(peer, "address", peer)))
        if request.sn != NEVER:
            answer = Answer(success_response(request), alive=True)
            asyncio.get_running_loop().call_later(self.seconds, done, answer)
        return None

    def fault(self, error: ProtocolError) -> Answer:
        return Answer(error_response(None, error), alive=False)

    def left(self, _carrier: object, *, was_told_to: bool) -> None: ...


class Listening:
    """What a test looks at."""

    def __init__(self, settings: IngressSettings) -> None:
        self.port = settings.port or settings.tls_port
        self.handlers = SlowHandlers()
        self.metrics = IngressMetrics()
        self.server = Server(settings, self.handlers, self.metrics)  # type: ignore[arg-type]  # stand-in for Handlers
        self.leaves = asyncio.Event()
        self.left = asyncio.Event()


@asynccontextmanager
async def listening(**changes: object) -> AsyncIterator[Listening]:
    """Listeners that leave when the test says so, or at the end."""
    values = {"host": HOST, "port": free_port(), "session_token": SecretStr("x"), "notice_seconds": 0, **changes}
    settings = IngressSettings.model_validate(values)
    running = Listening(settings)
    opened = asyncio.Event()

    async def serve() -> None:
        async with open_listeners(Lifecycle(), settings, running.server):
            opened.set()
            await running.leaves.wait()
        running.left.set()

    serving = asyncio.ensure_future(serve())
    await asyncio.wait([serving, asyncio.ensure_future(opened.wait())], return_when=asyncio.FIRST_COMPLETED)
    try:
        yield running
    finally:
        running.leaves.set()
        await serving
        running.metrics.process.close()
