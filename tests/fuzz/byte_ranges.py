"""Range, If-Range and If-None-Match (RFC 9110): a span lies in the file, or is the whole of it, or there is none."""

from starlette.datastructures import Headers

from task_api.byte_ranges import NotSatisfiable, is_unchanged, wanted_span
from tests.fuzz.reading import split_texts

ETAG = '"0123456789abcdef"'


def check(data: bytes) -> None:
    """The first byte is the file's size; then the three headers."""
    size = data[0] if data else 0
    names = (b"range", b"if-range", b"if-none-match")
    texts = split_texts(data[1:], 3)
    raw = [(name, text.encode("latin-1", "replace")) for name, text in zip(names, texts, strict=True) if text]
    headers = Headers(raw=raw)
    if is_unchanged(headers, ETAG):
        assert "*" in headers["if-none-match"] or ETAG in headers["if-none-match"]
    try:
        span = wanted_span(headers, ETAG, size)
    except NotSatisfiable:
        assert headers["range"].lower().startswith("bytes=")
        return
    if span is not None:
        assert 0 <= span.start < span.end <= size
        assert headers.get("if-range", ETAG) == ETAG
