"""The picture is a real JPEG of the wanted size, and never the same twice."""

import pytest

from terminal_simulator.face import picture


def segments(image: bytes) -> list[tuple[int, int]]:
    """Marker and length of each JPEG segment up to the scan, read as ITU-T T.81 says."""
    assert image[:2] == b"\xff\xd8"
    found: list[tuple[int, int]] = []
    at = 2
    while True:
        assert image[at] == 0xFF
        marker, length = image[at + 1], int.from_bytes(image[at + 2 : at + 4], "big")
        found.append((marker, length))
        if marker == 0xDA:
            return found
        at += 2 + length


@pytest.mark.parametrize("wanted", [0, 1, 2_600, 30_000, 65_536 + 2_480, 100_000, 131_072, 2_900_000])
def test_a_picture_is_a_jpeg_at_every_size(wanted: int) -> None:
    image = picture(7, wanted)
    markers = [marker for marker, _ in segments(image)]
    assert markers[0] == 0xE0  # JFIF stays first
    assert 0xC0 in markers  # a baseline frame
    assert image[-2:] == b"\xff\xd9"


@pytest.mark.parametrize("wanted", [30_000, 68_029, 68_030, 68_031, 68_032, 68_033, 68_034, 133_601, 2_900_000])
def test_a_picture_is_padded_to_the_size_within_three_bytes(wanted: int) -> None:
    # a comment segment has at least four bytes, so up to three may be missing
    assert wanted - 3 <= len(picture(1, wanted)) <= wanted


def test_two_pictures_differ() -> None:
    assert picture(1) != picture(2)
    assert 2_000 < len(picture(1)) < 5_000
