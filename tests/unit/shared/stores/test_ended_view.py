"""The view of the ended set: it only grows, and judges nobody once it is too old (design rules 3, 5)."""

import pytest

from shared.domain.control import CredentialRevoked, DeviceDisabled
from shared.domain.sessions import ENDED_LIFE_MS, Ended
from shared.runtime.unavailable import Unavailable
from shared.stores.ended_view import EndedView
from tests.support.session_values import NOW_MS, make_session

GRACE_MS = 60_000
FIRST = make_session("t1", "sn-1", access_id="a1")
SECOND = make_session("t2", "sn-2", access_id="a2", device_disabled_at_ms=NOW_MS)
"""Its C_AUTH knew that the device had been disabled."""


def test_design_5_a_revoked_credential_covers_its_sessions_and_no_others() -> None:
    view = EndedView(GRACE_MS)
    assert not view.covers(FIRST)
    view.apply(CredentialRevoked("a1", NOW_MS))
    assert (view.covers(FIRST), view.covers(SECOND)) == (True, False)


def test_design_5_a_session_that_knew_of_its_device_being_disabled_counts_until_the_next_time() -> None:
    view = EndedView(GRACE_MS)
    for at_ms in (NOW_MS, NOW_MS - 5):
        view.apply(DeviceDisabled("sn-2", at_ms))
        assert not view.covers(SECOND)
    view.apply(DeviceDisabled("sn-2", NOW_MS + 1))
    view.apply(DeviceDisabled("sn-2", NOW_MS))  # told again, late
    assert view.covers(SECOND)


def test_design_5_what_has_ended_stays_so_though_redis_lost_its_set_until_it_is_too_old_to_matter() -> None:
    view = EndedView(GRACE_MS)
    view.add(Ended({"a1": NOW_MS}, {"sn-2": NOW_MS + 1}), NOW_MS)
    view.add(Ended({}, {"sn-2": NOW_MS}), NOW_MS + ENDED_LIFE_MS)
    assert (view.covers(FIRST), view.covers(SECOND)) == (True, True)
    view.add(Ended({}, {}), NOW_MS + ENDED_LIFE_MS + 2)
    assert (view.covers(FIRST), view.covers(SECOND)) == (False, False)


def test_design_3_nobody_is_judged_before_the_set_is_known_or_past_the_grace() -> None:
    view = EndedView(GRACE_MS)
    with pytest.raises(Unavailable):
        view.check_trusted(NOW_MS)
    view.up_to_date(NOW_MS)
    view.check_trusted(NOW_MS + GRACE_MS)
    with pytest.raises(Unavailable):
        view.check_trusted(NOW_MS + GRACE_MS + 1)
