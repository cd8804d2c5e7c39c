"""Which bytes are sent for which Range, If-Range and If-None-Match (RFC 9110, sections 13 and 14)."""

import pytest
from starlette.datastructures import Headers

from task_api.byte_ranges import NotSatisfiable, is_unchanged, wanted_span

ETAG = '"aaaa"'
SIZE = 10_000
"""That of the examples in section 14.1.2."""


def span(value: str, size: int = SIZE, **more: str) -> tuple[int, int] | None:
    """The first and the last byte, as a Content-Range names them."""
    found = wanted_span(
        Headers({"range": value, **{name.replace("_", "-"): one for name, one in more.items()}}), ETAG, size
    )
    return None if found is None else (found.start, found.end - 1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-499", (0, 499)),
        ("bytes=500-999", (500, 999)),
        ("bytes=-500", (9500, 9999)),
        ("bytes=9500-", (9500, 9999)),
        ("bytes=0-0", (0, 0)),
        ("bytes=9999-9999", (9999, 9999)),
        ("bytes=0-", (0, 9999)),
        ("bytes=9000-20000", (9000, 9999)),
        ("bytes=-20000", (0, 9999)),
        (f"bytes=0-{'9' * 99}", (0, 9999)),
        ("Bytes=0-499", (0, 499)),
        ("bytes= 0-499 ", (0, 499)),
        ("bytes=007-009", (7, 9)),
    ],
)
def test_a_range_is_cut_to_the_file(value: str, expected: tuple[int, int]) -> None:
    assert span(value) == expected


@pytest.mark.parametrize("value", ["bytes=10000-", "bytes=10000-10001", "bytes=-0", f"bytes={'9' * 99}-"])
def test_a_range_of_none_of_the_files_bytes_cannot_be_satisfied(value: str) -> None:
    with pytest.raises(NotSatisfiable):
        span(value)


def test_nothing_of_an_empty_file_can_be_satisfied() -> None:
    for value in ("bytes=0-", "bytes=-1"):
        with pytest.raises(NotSatisfiable):
            span(value, size=0)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5-4",
        "bytes=a-b",
        "bytes=1-2-3",
        "bytes=1--2",
        "bytes=+1-2",
        "bytes=²-³",
        "items=0-5",
        f"bytes=0-{'9' * 100}",
        "bytes=0-1,5-6",
        "bytes=0-1,",
    ],
)
def test_what_is_no_single_range_is_ignored_and_the_whole_file_sent(value: str) -> None:
    assert span(value) is None


@pytest.mark.parametrize(
    ("if_range", "expected"),
    [
        (ETAG, (0, 4)),
        ('"bbbb"', None),
        (f"W/{ETAG}", None),
        ("aaaa", None),
        ("Tue, 24 Nov 2026 06:00:00 GMT", None),
    ],
)
def test_if_range_lets_a_range_stand_for_the_very_same_file_alone(
    if_range: str, expected: tuple[int, int] | None
) -> None:
    assert span("bytes=0-4", if_range=if_range) == expected


@pytest.mark.parametrize(
    ("known", "unchanged"),
    [
        (ETAG, True),
        ("*", True),
        (f"W/{ETAG}", True),
        (f'"bbbb", {ETAG}', True),
        (f'"bbbb",W/{ETAG} ,"cccc"', True),
        ('"bbbb"', False),
        ("aaaa", False),
        ("", False),
    ],
)
def test_if_none_match_is_compared_weakly_with_each_of_a_list(known: str, *, unchanged: bool) -> None:
    assert is_unchanged(Headers({"if-none-match": known}), ETAG) is unchanged


def test_without_if_none_match_nothing_is_known() -> None:
    assert is_unchanged(Headers({}), ETAG) is False
