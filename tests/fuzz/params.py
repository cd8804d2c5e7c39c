"""Texts of param (J1 to J3, S3): strict JSON is read as Python's json reads it, and its forms are their own forms."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.json_text import MAX_MARKS, compact, read_array
from shared.protocol.params import Param, parse_param
from tests.fuzz.reading import outcome_of
from tests.fuzz.strict_json import members_of, written
from tests.unit.shared.protocol.json_texts import Number

_SAFE_TIMES = 12
"""What a text may grow by where it is written anew: a raw control character becomes six, and quotes are doubled."""


def check(data: bytes) -> None:
    """The input is one param, of C_AUTH where its first byte is odd."""
    text = data[1:].decode("utf-8", "replace")
    reference = members_of(text)
    missing_commas = bool(data[:1]) and data[0] % 2 == 1
    param = outcome_of(lambda: parse_param(text, missing_commas=missing_commas))
    if isinstance(param, ProtocolError):
        assert param.code is ErrorCode.PARAM
        assert reference is None or len(text) > MAX_MARKS
        outcome_of(lambda: read_array(text))
        return
    if reference is not None:
        assert {member.name for member in param.members} == set(reference)
        assert compact(text) == written(reference)
        assert compact(text, sort_keys=True) == written(reference, sort=True)
        for name, value in reference.items():
            if isinstance(value, str) and not isinstance(value, Number):
                _check_text(param, name, value)
    _check_places(param)
    _check_forms(text)
    _read_everything(param)


def _check_text(param: Param, name: str, value: str) -> None:
    try:
        assert param.read_text(name) == value
    except ProtocolError:
        assert any("\ud800" <= character <= "\udfff" for character in value)


def _check_places(param: Param) -> None:
    """Members follow one another, each within the text."""
    end = 0
    for member in param.members:
        assert end <= member.start < member.value_start < member.end <= len(param.text)
        end = member.end


def _check_forms(text: str) -> None:
    for options in ({}, {"sort_keys": True}, {"strict_numbers": True}):
        once = compact(text, **options)
        assert len(once) <= _SAFE_TIMES * len(text)
        assert compact(once, **options) == once
        once.encode()
    json.loads(compact(text, strict_numbers=True))


def _read_everything(param: Param) -> None:
    readers: list[Callable[[str], Any]] = [
        param.read_text,
        param.read_number,
        param.read_whole_number,
        param.read_object,
        param.read_ids,
        param.read_objects,
        param.check_is_text,
    ]
    for name in {member.name for member in param.members[:20]}:
        for reader in readers:
            refusal = outcome_of(partial(reader, name))
            assert not isinstance(refusal, ProtocolError) or refusal.code is ErrorCode.PARAM
