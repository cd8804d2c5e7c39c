"""How many bytes a process holds for its connections: half frames, and requests at work (design rule 7)."""

from collections.abc import Callable

FREE_SHARE_BYTES = 64 * 1024
"""What a connection may always hold: heartbeats go on while others send pictures."""


class HeldBytes:
    """A sum with a bound. At the bound, whoever holds more than the free share is not read until there is room."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.total = 0
        self._waiting: list[Callable[[], None]] = []

    @property
    def full(self) -> bool:
        """The bound is reached."""
        return self.total >= self.max_bytes

    def change(self, difference: int) -> None:
        """Counts more or fewer bytes; tells those that wait when there is room again."""
        self.total += difference
        if self._waiting and difference < 0 and not self.full:
            waiting, self._waiting = self._waiting, []
            for there_is_room in waiting:
                there_is_room()

    def call_when_free(self, there_is_room: Callable[[], None]) -> None:
        """Calls once, when the sum falls below the bound."""
        self._waiting.append(there_is_room)
