"""Sign-ins beyond single texts (tests/vectors/sign_ins.json): every picture, anything in extra, order of checks."""

import base64
import binascii
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.protocol.errors import ProtocolError
from shared.protocol.params import parse_param
from shared.protocol.sign_in import read_sign_in
from tests.unit.shared.protocol import json_texts
from tests.unit.shared.protocol.json_texts import LooseWriter, Number, merged

NOW_MS = 1_616_872_568_000
KNOWN = {
    "personId", "type", "bitType", "qrCodeInfo", "img", "healthInfo", "recordTime", "temperature", "irisInfo",
    "coordinate",
}  # fmt: skip


def with_img(img: str) -> str:
    return '{"personId":"1","type":1,"recordTime":1609744974000,"img":' + json.dumps(img) + "}"


@given(
    st.binary(min_size=1, max_size=300),
    st.sampled_from(["", "data:image/jpeg;base64,", "data:;base64,"]),
    st.sampled_from(["", "\n", "\r\n", " "]),
    st.booleans(),
)
def test_j6_every_picture_survives_prefix_line_breaks_and_missing_padding(
    picture: bytes, prefix: str, line_break: str, padded: bool
) -> None:
    encoded = base64.b64encode(picture).decode()
    if not padded:
        encoded = encoded.rstrip("=")
    wrapped = line_break.join(encoded[at : at + 76] for at in range(0, len(encoded), 76)) + line_break
    read = read_sign_in(parse_param(with_img(prefix + wrapped)), NOW_MS)
    assert (read.picture, read.image_dropped) == (picture, None)


@given(st.text(max_size=40))
def test_j6_no_img_costs_the_record(img: str) -> None:
    read = read_sign_in(parse_param(with_img(img)), NOW_MS)
    assert read.person_id == "1"
    assert (read.picture is None) or (read.image_dropped is None)
    if img.strip():
        assert (read.picture is None) != (read.image_dropped is None)


@pytest.mark.parametrize("img", ["", " ", "\r\n", "data:image/png;base64,"])
def test_j6_an_img_with_nothing_in_it_is_no_image(img: str) -> None:
    read = read_sign_in(parse_param(with_img(img)), NOW_MS)
    assert (read.picture, read.picture_type, read.image_dropped) == (None, None, None)


def test_j6_a_picture_of_2_9_mb_is_read() -> None:
    picture = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 11_328
    read = read_sign_in(parse_param(with_img(base64.b64encode(picture).decode())), NOW_MS)
    assert (read.picture, read.picture_type) == (picture, "image/jpeg")


def test_j6_a_long_img_that_is_no_base64_is_dropped_in_milliseconds() -> None:
    param = parse_param(with_img("人" * 1_400_000))
    started = time.process_time()
    assert read_sign_in(param, NOW_MS).image_dropped == "img is not base64"
    assert time.process_time() - started < 0.05


@given(st.data(), st.lists(st.tuples(json_texts.names.filter(lambda name: name not in KNOWN), json_texts.values)))
def test_j5_unknown_members_survive_as_strict_json(data: st.DataObject, unknown: list[tuple[str, Any]]) -> None:
    known: list[tuple[str, Any]] = [("personId", "1"), ("type", Number("1")), ("recordTime", Number("1609744974000"))]
    members = data.draw(st.permutations(known + unknown))
    read = read_sign_in(parse_param(LooseWriter(data.draw).object(members)), NOW_MS)
    expected = merged([(name, value) for name, value in members if name not in KNOWN])
    assert read.extra == (json_texts.compact(expected) if expected else None)


TYPED = {"type", "codeColor", "codeValue", "cityCode", "healthCode", "NADCode", "travelCode", "vaccineStatus"}
TYPED |= {"NADMsg", "travelMsg", "vaccineMsg"}


@pytest.mark.parametrize("name", ["qrCodeInfo", "healthInfo"])
@given(data=st.data(), inner=json_texts.pairs.filter(lambda inner: TYPED.isdisjoint(name for name, _ in inner)))
def test_j5_inner_fields_survive_as_strict_json(name: str, data: st.DataObject, inner: list[tuple[str, Any]]) -> None:
    writer = LooseWriter(data.draw)
    text = writer.object(inner)
    if writer.pick("object", "text") == "text":
        text = json.dumps(text)
    param = parse_param('{"personId":"1","type":1,"recordTime":1609744974000,"' + name + '":' + text + "}")
    read = read_sign_in(param, NOW_MS)
    kept = read.qr_code_info if name == "qrCodeInfo" else read.health_info
    assert kept == json_texts.compact(merged(inner))


def test_e2_a_param_is_refused_before_its_picture_is_looked_at() -> None:
    # The picture is broken as well; the record is what counts.
    with pytest.raises(ProtocolError, match="recordTime missing"):
        read_sign_in(parse_param('{"personId":"1","type":1,"img":"%%%"}'), NOW_MS)


def test_m6_no_refusal_repeats_what_the_terminal_sent() -> None:
    secret = "330102199001011234"
    for param in (
        '{"personId":"1","type":"SECRET","recordTime":1}',
        '{"personId":"1","type":1,"recordTime":"SECRETx"}',
        '{"personId":"1","type":1,"recordTime":1,"healthInfo":"SECRET"}',
        '{"personId":"1","type":1,"recordTime":1,"coordinate":{"longitude":"SECRET","latitude":1}}',
        '{"personId":"' + "SECRET" * 9 + '","type":1,"recordTime":1}',
        '{"personId":"1","SECRET":}',
    ):
        with pytest.raises(ProtocolError) as refusal:
            read_sign_in(parse_param(param.replace("SECRET", secret)), NOW_MS)
        assert secret not in refusal.value.errmsg


@given(st.text("ABab09+/=-_ \n", max_size=12))
def test_j6_whichever_library_reads_it_a_picture_is_the_same_bytes_or_none(encoded: str) -> None:
    def by_the_standard_library(text: str) -> bytes | None:
        bare = "".join(text.split())
        for attempt in (text, bare + "=" * (-len(bare) % 4)):
            try:
                return binascii.a2b_base64(attempt, strict_mode=True) or None
            except ValueError:
                continue
        return None

    passage = read_sign_in(parse_param(with_img(encoded)), NOW_MS)
    assert passage.picture == by_the_standard_library(encoded)
