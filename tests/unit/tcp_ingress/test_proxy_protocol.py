"""The PROXY protocol's header by vectors written from its specification (HAProxy's proxy-protocol.txt, 2.1 and 2.2)."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcp_ingress.proxy_protocol import ProxyHeader, ProxyHeaderError, plain_address

SIGNATURE = bytes.fromhex("0d 0a 0d 0a 00 0d 0a 51 55 49 54 0a")
V6 = "2001 0db8 0000 0000 0000 0000 0000 0001", "2001 0db8 0000 0000 0000 0000 0000 0002"

WHOLE: dict[str, tuple[bytes, str | None]] = {
    "v1 TCP4": (b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 7000\r\n", "203.0.113.7"),
    # the longest of section 2.1, a line of 56 characters
    "v1 TCP4 longest": (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"),
    "v1 TCP6": (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", "2001:db8::1"),
    "v1 TCP6 longest": (
        b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ),
    "v1 TCP6 that is IPv4": (b"PROXY TCP6 ::ffff:203.0.113.7 ::ffff:198.51.100.1 1 2\r\n", "203.0.113.7"),
    "v1 UNKNOWN": (b"PROXY UNKNOWN\r\n", None),
    # the worst case of section 2.1: 107 bytes with its end
    "v1 UNKNOWN with what is to be ignored": (
        b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
        b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        None,
    ),
    "v2 TCP4": (SIGNATURE + bytes.fromhex("21 11 000c cb007107 c6336401 dc04 1b58"), "203.0.113.7"),
    "v2 TCP6": (SIGNATURE + bytes.fromhex(f"21 21 0024 {V6[0]} {V6[1]} dc04 1b58"), "2001:db8::1"),
    # PP2_TYPE_NOOP (4) with one byte, and PP2_TYPE_UNIQUE_ID (5) with four
    "v2 TCP4 with TLVs": (
        SIGNATURE + bytes.fromhex("21 11 0017 cb007107 c6336401 dc04 1b58 04 0001 ff 05 0004 00010203"),
        "203.0.113.7",
    ),
    "v2 LOCAL": (SIGNATURE + bytes.fromhex("20 00 0000"), None),
    "v2 LOCAL whose addresses are to be ignored": (
        SIGNATURE + bytes.fromhex("20 11 000c cb007107 c6336401 dc04 1b58"),
        None,
    ),
    "v2 LOCAL of a family that nobody knows": (SIGNATURE + bytes.fromhex("20 f7 0003 010203"), None),
    "v2 UNSPEC": (SIGNATURE + bytes.fromhex("21 00 0004 01020304"), None),
}

FAULTS: dict[str, bytes] = {
    "a frame instead": b"\x08\x0a\x06v1.0.0",
    "lower case": b"proxy TCP4 203.0.113.7 198.51.100.1 56324 7000\r\n",
    "no blank": b"PROXYTCP4 203.0.113.7 198.51.100.1 56324 7000\r\n",
    "no end within 107 bytes": b"PROXY UNKNOWN " + b"x" * 93,
    "UDP4 in v1": b"PROXY UDP4 203.0.113.7 198.51.100.1 56324 7000\r\n",
    "two blanks": b"PROXY TCP4  203.0.113.7 198.51.100.1 56324 7000\r\n",
    "a port missing": b"PROXY TCP4 203.0.113.7 198.51.100.1 56324\r\n",
    "something after": b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 7000 x\r\n",
    "port too large": b"PROXY TCP4 203.0.113.7 198.51.100.1 65536 7000\r\n",
    "port with a leading zero": b"PROXY TCP4 203.0.113.7 198.51.100.1 056 7000\r\n",
    "port of no digits": b"PROXY TCP4 203.0.113.7 198.51.100.1 -1 7000\r\n",
    "destination is no address": b"PROXY TCP4 203.0.113.7 198.51.100 1 7000\r\n",
    "IPv6 as TCP4": b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
    "IPv4 as TCP6": b"PROXY TCP6 203.0.113.7 198.51.100.1 1 2\r\n",
    "not ASCII": "PROXY TCP4 ２03.0.113.7 198.51.100.1 1 2\r\n".encode(),
    "only the word": b"PROXY \r\n",
    "signature broken": SIGNATURE[:-1] + b"\r" + bytes.fromhex("21 11 000c cb007107 c6336401 dc04 1b58"),
    "v2 of version 1": SIGNATURE + bytes.fromhex("11 11 000c cb007107 c6336401 dc04 1b58"),
    "v2 with command 2": SIGNATURE + bytes.fromhex("22 11 000c cb007107 c6336401 dc04 1b58"),
    "v2 UDP4": SIGNATURE + bytes.fromhex("21 12 000c cb007107 c6336401 dc04 1b58"),
    "v2 AF_INET without a transport": SIGNATURE + bytes.fromhex("21 10 000c cb007107 c6336401 dc04 1b58"),
    "v2 TCP4 too short": SIGNATURE + bytes.fromhex("21 11 000b cb007107 c6336401 dc04 1b"),
    "v2 TCP6 with addresses of IPv4": SIGNATURE + bytes.fromhex("21 21 000c cb007107 c6336401 dc04 1b58"),
}

REST = b"\x05what the terminal sent\r\n"


@pytest.mark.parametrize(("header", "address"), WHOLE.values(), ids=WHOLE)
def test_a_header_is_taken_to_its_last_byte_and_not_one_further(header: bytes, address: str | None) -> None:
    reader = ProxyHeader()
    assert reader.feed(header + REST) == len(header)
    assert reader.complete
    assert reader.address == address


@pytest.mark.parametrize(("header", "address"), WHOLE.values(), ids=WHOLE)
def test_a_header_may_be_split_at_every_byte(header: bytes, address: str | None) -> None:
    for cut in range(len(header)):
        reader = ProxyHeader()
        assert reader.feed(header[:cut]) == cut
        assert not reader.complete
        assert reader.feed(header[cut:] + REST) == len(header) - cut
        assert reader.complete
        assert reader.address == address


@pytest.mark.parametrize(("header", "address"), WHOLE.values(), ids=WHOLE)
def test_a_header_may_come_byte_by_byte(header: bytes, address: str | None) -> None:
    reader = ProxyHeader()
    for number in range(len(header)):
        assert not reader.complete
        assert reader.feed(header[number : number + 1]) == 1
    assert reader.complete
    assert reader.address == address


@pytest.mark.parametrize("data", FAULTS.values(), ids=FAULTS)
def test_what_the_specification_does_not_name_is_a_fault(data: bytes) -> None:
    with pytest.raises(ProxyHeaderError):
        ProxyHeader().feed(data)


@pytest.mark.parametrize("data", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_found_byte_by_byte_too(data: bytes) -> None:
    assert outcome([data[number : number + 1] for number in range(len(data))]) == ("fault", 0, None)


def test_the_vectors_know_the_specifications_longest_lines() -> None:
    assert len(WHOLE["v1 TCP4 longest"][0]) == 56
    assert len(WHOLE["v1 TCP6 longest"][0]) == 104
    assert len(WHOLE["v1 UNKNOWN with what is to be ignored"][0]) == 107


def test_an_address_has_one_spelling() -> None:
    assert str(plain_address("::ffff:10.1.2.3")) == "10.1.2.3"
    assert str(plain_address("2001:DB8:0::1")) == "2001:db8::1"


@given(st.ip_addresses(v=4), st.integers(0, 65535), st.binary(max_size=300), st.binary(max_size=50))
def test_any_address_of_version_4_is_read_and_any_tlv_skipped(
    source: object, port: int, tlvs: bytes, rest: bytes
) -> None:
    addresses = socket.inet_aton(str(source)) + bytes(4) + struct.pack(">HH", port, 7000)
    header = SIGNATURE + b"\x21\x11" + struct.pack(">H", len(addresses + tlvs)) + addresses + tlvs
    text = f"PROXY TCP4 {source} 0.0.0.0 {port} 7000\r\n".encode()
    for sent in (header, text):
        reader = ProxyHeader()
        assert reader.feed(sent + rest) == len(sent)
        assert reader.address == str(source)


@given(
    st.one_of(st.binary(max_size=200), st.sampled_from(list(WHOLE.values())).map(lambda vector: vector[0])), st.data()
)
def test_whatever_arrives_is_a_header_a_fault_or_waited_for_and_splits_change_nothing(
    data: bytes, draw: st.DataObject
) -> None:
    position = draw.draw(st.integers(0, len(data)))
    changed = data[:position] + draw.draw(st.binary(max_size=3)) + data[position + 1 :]
    cut = draw.draw(st.integers(0, len(changed)))
    assert outcome([changed]) == outcome([changed[:cut], changed[cut:]])


def outcome(parts: list[bytes]) -> tuple[str, int, str | None]:
    """What became of it, how much was taken, and the address."""
    reader, taken = ProxyHeader(), 0
    try:
        for part in parts:
            taken += 0 if reader.complete else reader.feed(part)
    except ProxyHeaderError:
        return "fault", 0, None
    return "complete" if reader.complete else "waits", taken, reader.address
