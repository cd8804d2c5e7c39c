"""Frames that are signed before a measurement, and the file in which generator/prepared.go reads them."""

import base64
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from terminal_simulator.wire import decode_answer, encode_frame
from tests.support.builders import Credentials, make_auth, make_heartbeat, make_sign_in, time_stamp

MAGIC = b"PREPARED1\n"


class DeviceLine:
    """What the frames of one connection are made with."""

    def __init__(self, vendor: Credentials, sn: str, token: str = "") -> None:
        self.vendor, self.sn, self.token = vendor, sn, token

    def auths(self, count: int, mark: str) -> list[bytes]:
        """C_AUTHs that differ, so that none is a replay of another."""
        return [encode_frame(make_auth(self.vendor, self.sn, param=f'{{"n":"{mark}-{i}"}}')) for i in range(count)]

    def take_token(self, answer: bytes) -> None:
        """Has it from the answer to a C_AUTH."""
        response = decode_answer(answer).response
        assert response is not None
        self.token = str(response["token"])

    def heartbeats(self, count: int) -> list[bytes]:
        """The same heartbeat again and again, as a terminal within one second sends it."""
        return [encode_frame(make_heartbeat(self.vendor.access_secret, self.sn, self.token))] * count

    def sign_ins(self, count: int, first_ms: int, picture: bytes | None = None) -> list[bytes]:
        """Passages one millisecond apart."""
        stamp = time_stamp()
        return [
            encode_frame(
                make_sign_in(
                    self.vendor.access_secret,
                    self.sn,
                    self.token,
                    record_time=first_ms + i,
                    picture=picture,
                    stamp=stamp,
                )
            )
            for i in range(count)
        ]


def write_frames(path: Path, connections: Sequence[Sequence[bytes]], picture: bytes = b"") -> None:
    """Writes them; a frame that holds the picture's base64 is written without it, since all share one."""
    shared = base64.b64encode(picture)
    with path.open("wb") as file:
        file.write(MAGIC + _sized(shared) + struct.pack("<I", len(connections)))
        for frames in connections:
            file.write(struct.pack("<I", len(frames)))
            for frame in frames:
                file.writelines(_parts(frame, shared))


def _parts(frame: bytes, shared: bytes) -> Iterator[bytes]:
    head, found, tail = frame.partition(shared) if shared else (frame, b"", b"")
    yield _sized(head)
    yield _sized(tail if found else b"")


def _sized(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def read_answers(path: Path) -> list[bytes]:
    """The first answer of each connection, as the generator kept it."""
    data, answers = path.read_bytes(), []
    position = 0
    while position < len(data):
        (size,) = struct.unpack_from("<I", data, position)
        answers.append(data[position + 4 : position + 4 + size])
        position += 4 + size
    return answers
