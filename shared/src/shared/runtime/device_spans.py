"""What the span of a device's request says, on TCP as on HTTPS."""

from shared.protocol.apicodes import Apicode
from shared.protocol.errors import ErrorCode
from shared.protocol.verification import MAX_SN_CHARACTERS
from shared.runtime.telemetry_names import APICODE, OUTCOME, SN
from shared.runtime.tracing import SampledSpan

_APICODES = frozenset(code.value for code in Apicode)
OTHER_APICODE = "other"
"""For what is no interface: a name never comes from a device."""


def known_apicode(apicode: str) -> str:
    """As spans show it."""
    return apicode if apicode in _APICODES else OTHER_APICODE


def describe_request(span: SampledSpan, apicode: str, sn: str, outcome: str) -> None:
    """Says what was asked, by which device, and what became of it: `success`, or an error code. Only a fault of ours
    is an error of the span."""
    span.set(APICODE, known_apicode(apicode))
    if 1 <= len(sn) <= MAX_SN_CHARACTERS:
        span.set(SN, sn)
    span.set(OUTCOME, outcome)
    if outcome == ErrorCode.SYSTEM.code:
        span.fail(outcome)
