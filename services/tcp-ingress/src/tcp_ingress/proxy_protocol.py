"""The PROXY protocol's header, versions 1 and 2, as a load balancer sends it before everything else. Pure.

1. A header is taken to its last byte and not one further: what follows is the terminal's, or its TLS handshake.
2. The address is that of the terminal. There is none (use the connection's own) for LOCAL, which a load balancer sends
   for itself, and where it does not know: UNKNOWN in version 1, UNSPEC in version 2.
3. TLVs are skipped. Whatever the specification does not name is a fault.
"""

from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address

V1_START = b"PROXY "
MAX_V1_BYTES = 107
V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V2_HEAD_BYTES = 16
V2_LOCAL, V2_PROXY = 0x20, 0x21  # the upper half is the version
V2_UNSPEC, V2_TCP4, V2_TCP6 = 0x00, 0x11, 0x21


class ProxyHeaderError(Exception):
    """The bytes are no PROXY header; the text says why, without the bytes."""


class ProxyHeader:
    """Reads one header out of what arrives."""

    def __init__(self) -> None:
        self.complete = False
        self.address: str | None = None
        """Of the terminal, once complete; None where the header names none (rule 2)."""
        self._held = b""

    def feed(self, data: bytes) -> int:
        """Takes what belongs to the header and returns how many bytes those were. Raises ProxyHeaderError."""
        before = len(self._held)
        self._held += data
        size = _size(self._held)
        if size is None or len(self._held) < size:
            return len(data)
        is_v1 = self._held.startswith(V1_START)
        self.address = _v1_address(self._held[: size - 2]) if is_v1 else _v2_address(self._held[:size])
        self.complete = True
        return size - before


def plain_address(text: str) -> IPv4Address | IPv6Address:
    """An address with one spelling: an IPv4 address that a dual-stack socket writes as IPv6 is IPv4 again.

    Raises ValueError where it is none.
    """
    address = ip_address(text)
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _size(held: bytes) -> int | None:
    """Of the whole header, None while that is not known yet."""
    if V1_START.startswith(held[: len(V1_START)]):
        end = held.find(b"\r\n", 0, MAX_V1_BYTES)
        if end < 0 and len(held) >= MAX_V1_BYTES:
            raise ProxyHeaderError("version 1: no end of line")
        return None if end < 0 else end + 2
    if V2_SIGNATURE.startswith(held[: len(V2_SIGNATURE)]):
        return None if len(held) < V2_HEAD_BYTES else V2_HEAD_BYTES + int.from_bytes(held[14:16], "big")
    raise ProxyHeaderError("neither version's first bytes")


def _v1_address(line: bytes) -> str | None:
    words = line.split(b" ")
    if words[1] == b"UNKNOWN":
        return None
    kinds = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}
    if words[1] not in kinds or len(words) != 6:
        raise ProxyHeaderError("version 1: not TCP4, TCP6 or UNKNOWN with two addresses and two ports")
    if not all(_is_port(word) for word in words[4:]):
        raise ProxyHeaderError("version 1: a port is none")
    try:
        source, _ = (kinds[words[1]](word.decode("ascii")) for word in words[2:4])
    except (AddressValueError, UnicodeDecodeError):
        raise ProxyHeaderError("version 1: an address is none") from None
    return str(plain_address(str(source)))


def _is_port(word: bytes) -> bool:
    return word.isdigit() and len(word) <= 5 and str(int(word)).encode() == word and int(word) < 65536


def _v2_address(header: bytes) -> str | None:
    command, kind = header[12], header[13]
    if command == V2_LOCAL:
        return None
    if command != V2_PROXY:
        raise ProxyHeaderError("version 2: neither LOCAL nor PROXY of version 2")
    if kind == V2_UNSPEC:
        return None
    lengths = {V2_TCP4: 4, V2_TCP6: 16}
    if kind not in lengths:
        raise ProxyHeaderError("version 2: neither TCP nor unspecified")
    length = lengths[kind]
    if len(header) < V2_HEAD_BYTES + 2 * length + 4:
        raise ProxyHeaderError("version 2: shorter than its addresses")
    source = header[V2_HEAD_BYTES : V2_HEAD_BYTES + length]
    return str(plain_address(str(ip_address(source))))
