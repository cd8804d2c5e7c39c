"""The signature (section 1.5), and the three texts of param over which a terminal may have computed it."""

import hashlib
import json
from collections.abc import Mapping
from enum import StrEnum


class ParamStyle(StrEnum):
    """How param is written: as JSON, or with unquoted names as the standard prints its examples."""

    STRICT = "strict"
    LOOSE = "loose"


class SignForm(StrEnum):
    """Which text of param is signed; the standard does not say."""

    AS_SENT = "as-sent"
    COMPACT = "compact"
    SORTED = "sorted"


PICTURE = "img"
"""The one member that is never signed (2.3.2), nor in the elements of a list (3.8.2)."""


def sign(*fields: str) -> str:
    """MD5, in lower-case hex, of the fields joined with nothing between."""
    return hashlib.md5("".join(fields).encode(), usedforsecurity=False).hexdigest()


def write_param(members: Mapping[str, object], style: ParamStyle) -> str:
    """The members as param's text. Strict JSON has spaces here, so that the three sign forms are three texts."""
    if style is ParamStyle.STRICT:
        return json.dumps(members, ensure_ascii=False)
    return "{" + ",".join(f"{name}:{_loose(value)}" for name, value in members.items()) + "}"


def signed_text(members: Mapping[str, object], style: ParamStyle, form: SignForm) -> str:
    """The text of param that goes into the signature: without pictures."""
    signed = {name: _without_pictures(value) for name, value in members.items() if name != PICTURE}
    if form is SignForm.AS_SENT:
        return write_param(signed, style)
    return json.dumps(signed, ensure_ascii=False, separators=(",", ":"), sort_keys=form is SignForm.SORTED)


def write_body(fields: Mapping[str, str], param: str | None, style: ParamStyle, *, as_text: bool = False) -> str:
    """A request over HTTPS: its fields as text, then param as it was written, if there is one, or a text of that."""
    head = write_param(fields, style)
    if param is None:
        return head
    if as_text:
        param = json.dumps(param, ensure_ascii=False)
    return f'{head[:-1]}, "param": {param}}}' if style is ParamStyle.STRICT else f"{head[:-1]},param:{param}}}"


def _without_pictures(value: object) -> object:
    if not isinstance(value, list):
        return value
    return [
        {name: inner for name, inner in item.items() if name != PICTURE} if isinstance(item, Mapping) else item
        for item in value
    ]


def _loose(value: object) -> str:
    if isinstance(value, Mapping):
        return write_param(value, ParamStyle.LOOSE)
    if isinstance(value, list):
        return "[" + ",".join(map(_loose, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
