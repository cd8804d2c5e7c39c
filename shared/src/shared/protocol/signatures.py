"""Signatures of requests: which fields are signed, and which text of param (S1–S4, S6).

Those of the HTTPS requests and answers (S2, S5) are built from the same pieces in json_messages.py.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from shared.protocol.apicodes import Apicode
from shared.protocol.errors import ProtocolError
from shared.protocol.json_text import Member, compact
from shared.protocol.messages import AuthRequest, DeviceRequest
from shared.protocol.params import Param


class SignForm(StrEnum):
    """Which text of param was signed (S3), in the order in which they are tried."""

    AS_SENT = "as-sent"
    COMPACT = "compact"
    SORTED = "sorted"


_ALL_FORMS: Mapping[SignForm | None, Sequence[SignForm]] = {
    None: tuple(SignForm),
    **{first: (first, *(form for form in SignForm if form is not first)) for first in SignForm},
}
"""By the one that is tried first."""


def md5_hex(*parts: str | None) -> str:
    """The sign over these fields: MD5 of their texts joined, absent ones skipped (S1)."""
    text = "".join(filter(None, parts))
    # A lone surrogate cannot be part of a right sign; it must not be an error of ours either.
    return hashlib.md5(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def signs_equal(expected: str, received: str) -> bool:
    """Compares in constant time; upper-case hex is accepted (S1)."""
    # Two texts are compared as they are where both are ASCII; one that is not is no sign.
    return received.isascii() and hmac.compare_digest(expected, received.lower())


def auth_sign_matches(
    request: AuthRequest, param: Param | None, secret: str, pinned: SignForm | None
) -> SignForm | None:
    """The form in which C_AUTH's param was signed; None where the sign is wrong.

    Section 1.5's formula without param is accepted under every pin (S2); it counts as the pinned form or as sent.
    """
    head = (
        request.version,
        request.sn,
        request.apicode,
        request.access_id,
        request.access_key,
        request.time_stamp,
    )
    form = matching_form(request.sign, head, param.text if param else None, secret, forms_to_try(pinned, None))
    if form is None and signs_equal(md5_hex(*head, secret), request.sign):
        return pinned or SignForm.AS_SENT
    return form


def request_sign_form(
    request: DeviceRequest, param: Param, secret: str, *, pinned: SignForm | None, remembered: SignForm | None
) -> SignForm | None:
    """The form in which the param of a C_HEARTBEAT or C_SIGN_IN was signed; None where the sign is wrong."""
    head = (request.version, request.sn, request.token, request.apicode, request.time_stamp)
    text = param.text
    if request.apicode == Apicode.C_SIGN_IN and "img" in param.names:
        text = cut_out(text, member_cuts(param.members, "img"))
    return matching_form(request.sign, head, text, secret, forms_to_try(pinned, remembered))


def forms_to_try(pinned: SignForm | None, remembered: SignForm | None) -> Sequence[SignForm]:
    """The pinned form alone, or all of them, the remembered one first (S3)."""
    return _ALL_FORMS[remembered] if pinned is None else (pinned,)


def matching_form(
    sign: str, head: Iterable[str | None], param_text: str | None, secret: str, forms: Sequence[SignForm]
) -> SignForm | None:
    """The first of the forms in which fields, param and secret give this sign; None where none does.

    `param_text` is param as sent, already without what is not signed; None where the request has none.
    """
    if param_text is None:
        return forms[0] if signs_equal(md5_hex(*head, secret), sign) else None
    for form in forms:
        try:
            text = _in_form(param_text, form)
        except ProtocolError:
            continue  # of `{img:1,}` the cut leaves `{,}`, which is signed as it is or not at all
        if signs_equal(md5_hex(*head, text, secret), sign):
            return form
    return None


def _in_form(param_text: str, form: SignForm) -> str:
    if form is SignForm.AS_SENT:
        return param_text
    return compact(param_text, sort_keys=form is SignForm.SORTED)


def member_cuts(members: Sequence[Member], name: str) -> list[tuple[int, int]]:
    """The parts of an object's text that are not signed, for every member of that name (S4).

    Each is cut up to the start of the next member, the last member from the end of the one before it. Where only
    such members are left at the end, that is from the end of the last one that stays; where none stays at all, from
    the start of the first to the end of the last. That is what cutting one after the other gives, in any order.
    """
    last_kept = next((at for at in range(len(members) - 1, -1, -1) if members[at].name != name), -1)
    cuts = [(members[at].start, members[at + 1].start) for at in range(last_kept) if members[at].name == name]
    if last_kept + 1 < len(members):
        start = members[last_kept].end if last_kept >= 0 else members[0].start
        cuts.append((start, members[-1].end))
    return cuts


def cut_out(text: str, cuts: Iterable[tuple[int, int]]) -> str:
    """The text without these parts, which must be in order."""
    kept: list[str] = []
    position = 0
    for start, end in cuts:
        kept.append(text[position:start])
        position = end
    kept.append(text[position:])
    return "".join(kept)
