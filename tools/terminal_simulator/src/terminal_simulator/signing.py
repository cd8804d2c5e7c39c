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
"""The one member that is never signed (2.3.2)."""


def sign(*fields: str) -> str:
    """MD5, in lower-case hex, of the fields joined with nothing between."""
    return hashlib.md5("".join(fields).encode(), usedforsecurity=False).hexdigest()


def write_param(members: Mapping[str, object], style: ParamStyle) -> str:
    """The members as param's text. Strict JSON has spaces here, so that the three sign forms are three texts."""
    if style is ParamStyle.STRICT:
        return json.dumps(members, ensure_ascii=False)
    return "{" + ",".join(f"{name}:{_loose(value)}" for name, value in members.items()) + "}"


def signed_text(members: Mapping[str, object], style: ParamStyle, form: SignForm) -> str:
    """The text of param that goes into the signature: without the picture."""
    signed = {name: value for name, value in members.items() if name != PICTURE}
    if form is SignForm.AS_SENT:
        return write_param(signed, style)
    return json.dumps(signed, ensure_ascii=False, separators=(",", ":"), sort_keys=form is SignForm.SORTED)


def write_body(fields: Mapping[str, str], param: str, style: ParamStyle) -> str:
    """A request over HTTPS: its fields as text, then param as it was written."""
    if style is ParamStyle.STRICT:
        return f'{json.dumps(fields, ensure_ascii=False)[:-1]}, "param": {param}}}'
    return f"{write_param(fields, style)[:-1]},param:{param}}}"


def _loose(value: object) -> str:
    if isinstance(value, Mapping):
        return write_param(value, ParamStyle.LOOSE)
    return json.dumps(value, ensure_ascii=False)
