"""Pushes commands to the devices that this process holds (C1), and tells Redis which were pushed (T5).

1. The process pushes whose connection last carried an accepted request of the device, as Redis has it (design rule 6).
   Within the second in which a device moves to another process, none or both of them may push: rule 3, and it is one
   task all the same.
2. A device whose session has ended is pushed nothing, though its connection is still open (design rule 5).
3. Who does not hold the device does nothing, and what could not be pushed is not tried again: its task is listed in
   heartbeats until it ends (C2).
4. Ingress does not talk to MongoDB. The ids of what was pushed go to Redis, where task-api finds them and marks the
   tasks as delivered. Console cannot mark them: it does not know whether anybody holds the device.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from shared.domain.control import PushCommand
from shared.protocol.messages import DEFAULT_VERSION, encode_response
from shared.runtime.tracing import NOT_TRACED, Tracing
from shared.stores.interfaces import PushedTasks
from tcp_ingress.frame_spans import push_span
from tcp_ingress.presence_batches import Carrier

MAX_UNTOLD = 10_000
"""Ids that wait while Redis is away; beyond it they are dropped: a task's own end does not need the mark."""


class Held(Protocol):
    """The devices of this process: PresenceBatches."""

    def carrier_of(self, sn: str) -> Carrier | None: ...

    def is_taking_over(self, sn: str) -> bool: ...

    def token_of(self, sn: str) -> str: ...


class Endings(Protocol):
    """Which sessions have ended: DeviceCache."""

    def has_ended(self, token: str) -> bool: ...


class Holders(Protocol):
    """Which process holds a device: PresenceStore."""

    async def held_elsewhere(self, sns: Sequence[str]) -> Sequence[bool]: ...


class Pusher:
    """Pushes from one process."""

    def __init__(
        self, held: Held, endings: Endings, holders: Holders, pushed: PushedTasks, tracing: Tracing = NOT_TRACED
    ) -> None:
        self.pushed = 0
        self._held = held
        self._endings = endings
        self._holders = holders
        self._pushed = pushed
        self._tracing = tracing
        self._untold: dict[str, None] = {}

    async def push(self, commands: Sequence[PushCommand]) -> None:
        """Pushes what is for devices held here, and tells what is untold. Raises Unavailable."""
        ours = [command for command in commands if self._held.carrier_of(command.sn) is not None]
        if ours:
            elsewhere = await self._holders.held_elsewhere([command.sn for command in ours])
            for command, is_elsewhere in zip(ours, elsewhere, strict=True):
                if not is_elsewhere or self._held.is_taking_over(command.sn):
                    self._push(command)
        if self._untold:
            told = list(self._untold)
            await self._pushed.add_many(told)
            for task_id in told:
                del self._untold[task_id]

    def _push(self, command: PushCommand) -> None:
        carrier = self._held.carrier_of(command.sn)
        if carrier is None or self._endings.has_ended(self._held.token_of(command.sn)):
            return
        with push_span(self._tracing, command):
            is_pushed = carrier.push(command_message(command))
        if is_pushed:
            self.pushed += 1
            if len(self._untold) < MAX_UNTOLD:
                self._untold[command.task_id] = None


def command_message(command: PushCommand) -> bytes:
    """The Response message of a pushed command (C1)."""
    response: dict[str, object] = {"taskid": command.task_id}
    if command.param is not None:
        response["param"] = msgspec.Raw(command.param.encode())
    return encode_response(
        version=DEFAULT_VERSION,
        success=True,
        apicode=command.apicode,
        response=msgspec.json.encode(response).decode(),
    )
