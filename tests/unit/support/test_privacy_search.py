"""What the scan for secrets finds: every kind of value in every form, wherever it is planted."""

import base64
import json
import secrets
from urllib.parse import quote, quote_from_bytes

import pytest

from tests.support.privacy.search import findings, forms, piece

TEXTS = {
    "secret": secrets.token_hex(16),
    "token": f"op_{secrets.token_urlsafe(32)}",
    "identity number": "33010619900101123X",
    "phone": "+8613812341234",
    "name": "张三丰与李四光",
    "link": "https://h/x?signature=a+b/c==&key=k1",
}
PICTURE = piece(bytes(range(256)) * 4)


@pytest.mark.parametrize("value", [*(text.encode() for text in TEXTS.values()), PICTURE], ids=[*TEXTS, "picture"])
@pytest.mark.parametrize("lead", [0, 1, 2, 3])
def test_a_value_is_found_in_every_form_whatever_stands_around_it(value: bytes, lead: int) -> None:
    before, after = b"abc"[:lead], b"defgh"
    whole = before + value + after
    written = {
        "as it is": whole,
        "hex": whole.hex().encode(),
        "HEX": whole.hex().upper().encode(),
        "base64": base64.b64encode(whole),
        "urlsafe": base64.urlsafe_b64encode(whole),
        "url": quote_from_bytes(whole, safe="").encode(),
        "python": repr(whole).encode(),
        "python in JSON": json.dumps(repr(whole)).encode(),
    }
    if value is not PICTURE:
        text = whole.decode()
        written |= {"json": json.dumps(text).encode(), "quoted": quote(text, safe="").encode()}
    for form, content in written.items():
        assert findings({"log": b"x " + content + b" y"}, {"value": value}), form


def test_nothing_is_found_where_nothing_is_and_a_finding_never_repeats_the_value() -> None:
    values = {name: text.encode() for name, text in TEXTS.items()}
    other = json.dumps({name: secrets.token_hex(40) for name in TEXTS}).encode()
    assert findings({"log": other, "trace": b""}, values) == []
    for name, value in values.items():
        found = findings({"log": other + value}, {name: value})
        assert f"log: {name}, as it is" in found
        assert value.decode() not in "".join(found)


def test_what_is_too_short_to_be_told_from_chance_is_refused() -> None:
    with pytest.raises(AssertionError, match="too short"):
        findings({}, {"pin": b"1234"})


def test_no_two_forms_of_a_picture_are_taken_for_another() -> None:
    assert len(set(forms(PICTURE).values())) >= 8
