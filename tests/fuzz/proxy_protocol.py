"""Headers of the PROXY protocol: in whatever pieces they come they give one address, none, or one fault."""

from ipaddress import ip_address

from tcp_ingress.proxy_protocol import MAX_V1_BYTES, V2_HEAD_BYTES, ProxyHeader, ProxyHeaderError
from tests.fuzz.reading import chunks


def check(data: bytes) -> None:
    """The first byte says in which pieces the rest arrives."""
    seed, stream = (data[0] if data else 0), data[1:]
    whole, pieces = outcome([stream]), outcome(chunks(stream, seed))
    assert whole == pieces
    _, taken, address = whole
    assert taken <= max(MAX_V1_BYTES, V2_HEAD_BYTES + 0xFFFF)
    assert address is None or str(ip_address(address)) == address


def outcome(arriving: list[bytes]) -> tuple[str, int, str | None]:
    """What the header was found to be, how many bytes were taken, and the address."""
    header = ProxyHeader()
    taken = 0
    for piece in arriving:
        try:
            taken += header.feed(piece)
        except ProxyHeaderError:
            return "fault", 0, None
        if header.complete:
            return "complete", taken, header.address
    return "waiting", taken, None
