"""Makes of what an operator uploads the face that terminals load: a JPEG of bounded size, upright, without metadata.
What it is stored as is the routes' affair."""

import asyncio
import io

from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

MAX_UPLOAD_BYTES = 8 * 1024 * 1024
"""What cameras of phones make."""

MAX_PIXELS = 25_000_000
"""Decoded that is 100 MB, whatever the file's own size: looked at in the header, before anything is decoded."""

MAX_SIDE = 1080
"""Of what is stored; no terminal's camera sees more of a face."""

MAX_FACE_BYTES = 400_000
"""Terminals of several vendors refuse pictures above 400 KB."""

DECODED_AT_ONCE = 2

_SIDES = (MAX_SIDE, MAX_SIDE * 2 // 3, MAX_SIDE // 3)
_QUALITIES = (90, 80, 70, 55, 40)
"""The first that is small enough is taken; of the smallest side even noise is."""

_READERS = ((b"\xff\xd8\xff", JpegImageFile), (b"\x89PNG\r\n\x1a\n", PngImageFile))
"""By the first bytes. No other of Pillow's many readers is ever given foreign bytes, as Image.open would."""


class FaceRefused(Exception):
    """What was uploaded is no face that can be stored; the text says why."""


class FaceImages:
    """Reads uploads in threads, few at once, because each may take a hundred megabytes while it is read."""

    def __init__(self) -> None:
        self._decoding = asyncio.Semaphore(DECODED_AT_ONCE)

    async def read(self, data: bytes) -> bytes:
        """The face as it is stored: of the same upload always the same bytes. Raises FaceRefused."""
        async with self._decoding:
            return await asyncio.to_thread(read_face, data)


def read_face(data: bytes) -> bytes:
    """The face as it is stored. Raises FaceRefused."""
    reader = next((reader for start, reader in _READERS if data.startswith(start)), None)
    if reader is None:
        raise FaceRefused("a face is a JPEG or a PNG")
    try:
        return _written(_decoded(reader(io.BytesIO(data))))
    except (FaceRefused, MemoryError):
        raise
    # Of broken bytes Pillow's readers raise whatever comes: struct.error, zlib.error, KeyError, warnings …
    except Exception as error:
        raise FaceRefused("the picture cannot be read: it is cut off or broken") from error


def _decoded(picture: JpegImageFile | PngImageFile) -> Image.Image:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise FaceRefused(f"the picture has {width} × {height} pixels; at most {MAX_PIXELS} are taken")
    # A large JPEG is decoded at a half, quarter or eighth of its size, where that is still more than is kept.
    picture.draft(None, (2 * MAX_SIDE, 2 * MAX_SIDE))
    return _on_white(ImageOps.exif_transpose(picture))


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        # Pillow would make plain white of nearly all of it.
        raise FaceRefused("a picture of 16 bits a colour is not taken")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    opaque = picture.convert("RGBA")
    white = Image.new("RGBA", opaque.size, "white")
    return Image.alpha_composite(white, opaque).convert("RGB")


def _written(picture: Image.Image) -> bytes:
    picture.info.clear()  # profile, comment, EXIF, XMP: else Pillow writes some of it again
    for side in _SIDES:
        picture.thumbnail((side, side))
        for quality in _QUALITIES:
            written = io.BytesIO()
            picture.save(written, "JPEG", quality=quality)
            if written.tell() <= MAX_FACE_BYTES:
                return written.getvalue()
    raise FaceRefused("the picture cannot be made small enough")
