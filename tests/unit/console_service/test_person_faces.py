import asyncio
import io
import os
import random
import struct
import threading
import zlib

import pytest
from PIL import Image, PngImagePlugin

from console_service import person_faces
from console_service.person_faces import MAX_FACE_BYTES, FaceImages, FaceRefused, read_face


def encoded(picture: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    written = io.BytesIO()
    picture.save(written, kind, **options)
    return written.getvalue()


def plain(width: int = 60, height: int = 80, mode: str = "RGB", color: object = (200, 40, 40)) -> Image.Image:
    return Image.new(mode, (width, height), color)  # type: ignore[arg-type]  # a colour of any mode


def shown(face: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(face))
    assert picture.format == "JPEG"
    assert picture.mode == "RGB"
    return picture


def is_near(picture: Image.Image, place: tuple[int, int], color: tuple[int, int, int]) -> bool:
    found = picture.getpixel(place)
    assert isinstance(found, tuple)
    return all(abs(a - b) < 12 for a, b in zip(found, color, strict=True))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_jpeg_or_png_becomes_a_jpeg_of_the_same_picture(kind: str) -> None:
    face = shown(read_face(encoded(plain(), kind)))
    assert face.size == (60, 80)
    assert is_near(face, (30, 40), (200, 40, 40))


def test_the_same_upload_is_always_the_same_face() -> None:
    data = encoded(plain(), "PNG")
    assert read_face(data) == read_face(data)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "WEBP", "TIFF"])
def test_other_kinds_of_picture_are_refused(kind: str) -> None:
    with pytest.raises(FaceRefused, match="a JPEG or a PNG"):
        read_face(encoded(plain(), kind))


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xff\xd8", b"no picture", b"%PDF-1.7", b"<svg/>"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(FaceRefused, match="a JPEG or a PNG"):
        read_face(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_picture_cut_off_anywhere_is_refused(kind: str) -> None:
    data = encoded(Image.effect_noise((64, 64), 60).convert("RGB"), kind)
    for length in range(8, len(data) - 20, len(data) // 60):
        with pytest.raises(FaceRefused, match="cut off or broken"):
            read_face(data[:length])


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_broken_bytes_are_refused_or_read_and_never_anything_else(kind: str) -> None:
    made = random.Random(4)
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = encoded(Image.effect_noise((24, 24), 60).convert("RGB"), kind, exif=exif)
    refused = 0
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(made.choice((1, 4, 16))):
            data[made.randrange(8, len(data))] = made.randrange(256)
        try:
            shown(read_face(bytes(data)))
        except FaceRefused:
            refused += 1
    assert 0 < refused < 400


def png_claiming(width: int, height: int) -> bytes:
    """A few bytes that promise so many pixels."""
    data = bytearray(encoded(plain(1, 1), "PNG"))
    header = b"IHDR" + struct.pack(">II", width, height) + bytes(data[24:29])
    data[12:33] = header + struct.pack(">I", zlib.crc32(header))
    return bytes(data)


def jpeg_claiming(width: int, height: int) -> bytes:
    data = encoded(plain(8, 8))
    return data.replace(struct.pack(">HH", 8, 8), struct.pack(">HH", height, width), 1)


@pytest.mark.parametrize("data", [png_claiming(10_000, 10_000), png_claiming(2**31 - 1, 2**31 - 1)])
def test_a_png_of_a_hundred_megapixels_is_refused_before_it_is_decoded(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda _picture: pytest.fail("decoded"))
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda _picture: pytest.fail("decoded"))
    with pytest.raises(FaceRefused, match="at most 25000000"):
        read_face(data)


def test_a_jpeg_of_a_hundred_megapixels_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(FaceRefused, match="10000 × 10000 pixels"):
        read_face(jpeg_claiming(10_000, 10_000))


def test_pillows_own_bound_is_left_as_it_is() -> None:
    before = Image.MAX_IMAGE_PIXELS
    read_face(encoded(plain()))
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_png_whose_texts_unpack_to_megabytes_is_refused() -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("comment", "x" * 50_000_000, zip=True)
    data = encoded(plain(), "PNG", pnginfo=texts)
    assert len(data) < 100_000
    with pytest.raises(FaceRefused, match="cut off or broken"):
        read_face(data)


@pytest.mark.parametrize(
    ("orientation", "corner"), [(1, (0, 0)), (3, (59, 79)), (6, (79, 0)), (8, (0, 59))], ids=["1", "3", "6", "8"]
)
def test_a_picture_taken_sideways_is_turned_upright(orientation: int, corner: tuple[int, int]) -> None:
    picture = plain(60, 80, color="white")
    picture.paste((0, 0, 0), (0, 0, 16, 16))  # at the top left as the camera held it
    exif = Image.Exif()
    exif[0x0112] = orientation
    face = shown(read_face(encoded(picture, exif=exif)))
    assert face.size == ((80, 60) if orientation in (6, 8) else (60, 80))
    assert is_near(face, corner, (0, 0, 0))
    assert face.getexif().get(0x0112) is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_no_metadata_is_kept(kind: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "taken at the gate of 30.2N 120.1E"
    options: dict[str, object] = {"exif": exif, "icc_profile": b"PROFILE" * 30, "dpi": (300, 300)}
    if kind == "JPEG":
        options |= {"comment": b"COMMENT", "xmp": b"<x:xmpmeta>XMP</x:xmpmeta>"}
    else:
        texts = PngImagePlugin.PngInfo()
        texts.add_text("Comment", "COMMENT")
        texts.add_itxt("XML:com.adobe.xmp", "XMP")
        options["pnginfo"] = texts
    data = encoded(plain(), kind, **options)
    face = read_face(data)
    for text in (b"gate", b"PROFILE", b"COMMENT", b"XMP", b"Exif", b"ICC", b"adobe"):
        assert text not in face
    assert any(text in data for text in (b"COMMENT", b"gate"))
    assert set(shown(face).info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_what_shines_through_becomes_white() -> None:
    face = shown(read_face(encoded(plain(mode="RGBA", color=(0, 0, 0, 0)), "PNG")))
    assert is_near(face, (1, 1), (255, 255, 255))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_pictures_of_other_colours_are_read(mode: str) -> None:
    data = encoded(plain().convert(mode), "JPEG" if mode == "CMYK" else "PNG")
    assert shown(read_face(data)).size == (60, 80)


def test_grey_of_16_bits_is_refused_rather_than_stored_white() -> None:
    with pytest.raises(FaceRefused, match="16 bits"):
        read_face(encoded(plain(mode="I;16", color=40_000), "PNG"))


@pytest.mark.parametrize(("size", "stored"), [((4000, 3000), (1080, 810)), ((1081, 20), (1080, 20)), ((9, 9), (9, 9))])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_longest_side_is_1080_pixels_at_most_and_nothing_is_made_larger(
    size: tuple[int, int], stored: tuple[int, int], kind: str
) -> None:
    assert shown(read_face(encoded(plain(*size), kind))).size == stored


@pytest.mark.parametrize("size", [(1080, 1080), (2000, 2000)])
def test_even_noise_is_stored_in_400_kilobytes(size: tuple[int, int]) -> None:
    noise = Image.frombytes("RGB", size, random.Random(1).randbytes(size[0] * size[1] * 3))
    assert len(read_face(encoded(noise, quality=95))) <= MAX_FACE_BYTES


async def test_at_most_two_are_decoded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    going, most, lock = 0, 0, threading.Lock()

    def slow(data: bytes) -> bytes:
        nonlocal going, most
        with lock:
            going += 1
            most = max(most, going)
        threading.Event().wait(0.05)
        with lock:
            going -= 1
        return data

    monkeypatch.setattr(person_faces, "read_face", slow)
    images = FaceImages()
    data = os.urandom(8)
    assert await asyncio.gather(*(images.read(data) for _ in range(7))) == [data] * 7
    assert most == 2
