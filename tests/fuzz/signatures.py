"""Signs of requests with a token (S1 to S4) against a naive reading: what one of three texts gives is right, no
other."""

from shared.protocol.errors import ProtocolError
from shared.protocol.json_text import compact
from shared.protocol.messages import DeviceRequest
from shared.protocol.params import Param, parse_param
from shared.protocol.signatures import SignForm, cut_out, member_cuts, request_sign_form, signs_equal
from tests.fuzz.reading import outcome_of, split_texts
from tests.fuzz.strict_json import members_of, signed_texts
from tests.unit.shared.protocol.test_signatures import md5

SECRET = "93f6218530984c32a3bf2b3d03dcb417"
HEAD = ("v1.0.0", "1388186", "696e8019b6fe4dbcb7e5ced91a1c771c", "C_SIGN_IN", "20210328031608")


def check(data: bytes) -> None:
    """A param, the text that was signed in its place, and a sign."""
    param_text, other_text, foreign_sign = split_texts(data, 3)
    signs_equal(md5(SECRET), foreign_sign)
    param = outcome_of(lambda: parse_param(param_text))
    if isinstance(param, ProtocolError):
        return
    assert accepted(param, foreign_sign) is None  # nobody makes a sign without the secret
    cut = cut_out(param_text, member_cuts(param.members, "img"))
    members = members_of(param_text)
    if members is None:
        assert accepted(param, md5("".join(HEAD) + cut + SECRET)) is SignForm.AS_SENT
        if all(member.name == "img" for member in param.members):
            right = {cut}  # a comma may be all that is left
        else:
            assert all(member.name != "img" for member in parse_param(cut).members)
            right = {cut, compact(cut), compact(cut, sort_keys=True)}
    else:
        right = signed_texts(param_text, members, without_img=True)
    for text in right:
        assert accepted(param, md5("".join(HEAD) + text + SECRET)) is not None
        assert accepted(param, md5("".join(HEAD) + text + SECRET).upper()) is not None
    for text in (other_text, param_text):
        sign = md5("".join(HEAD) + text + SECRET)
        assert (accepted(param, sign) is not None) == (text in right)


def accepted(param: Param, sign: str) -> SignForm | None:
    """The form in which the server finds this sign right."""
    version, sn, token, apicode, stamp = HEAD
    request = DeviceRequest(
        version=version, sn=sn, token=token, apicode=apicode, time_stamp=stamp, param=param.text, sign=sign
    )
    return request_sign_form(request, param, SECRET, pinned=None, remembered=None)
