"""worker.py with a defect planted in the code under test, for the test that a finding is found: answers leave in the
order in which they were given."""

import sys

from shared.protocol.connection import DeviceConnection
from shared.protocol.frames import encode_frame
from tests.fuzz import worker


def _answer(self: DeviceConnection, number: int, message: bytes) -> bytes:
    self._next_to_leave += 1
    return encode_frame(message)


if __name__ == "__main__":
    DeviceConnection.answer = _answer  # type: ignore[method-assign]  # the defect
    worker.main(sys.argv[1], sys.argv[2:])
