"""The picture of a sign-in: one small generated JPEG, made different each time by a comment segment."""

from importlib.resources import files

HEADER_BYTES = 20
"""Start of image (2) and the JFIF segment (18), which must stay first."""
COMMENT = b"\xff\xfe"
LONGEST_COMMENT = 65533

_FACE = files("terminal_simulator").joinpath("face.jpg").read_bytes()


def picture(number: int, wanted_bytes: int = 0) -> bytes:
    """A JPEG that no other number gives, padded by comment segments to `wanted_bytes` where that is larger."""
    comments = _comment(f"terminal simulator, picture {number}".encode())
    missing = wanted_bytes - len(_FACE) - len(comments)
    while missing >= 4:
        # what is left over must be nothing, or enough for a comment of its own (4 bytes of marker and length)
        size = min(missing - 4, LONGEST_COMMENT)
        if 0 < missing - 4 - size < 4:
            size -= 4
        comments += _comment(b"." * size)
        missing -= size + 4
    return _FACE[:HEADER_BYTES] + comments + _FACE[HEADER_BYTES:]


def _comment(text: bytes) -> bytes:
    return COMMENT + (len(text) + 2).to_bytes(2, "big") + text
