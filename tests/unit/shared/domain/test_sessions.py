"""Which sessions have ended (design rule 5, T1), and where a device stood when (design rule 11)."""

import msgspec

from shared.domain.devices import Direction, SiteSpan, site_at
from shared.domain.sessions import Ended, Session


def session(device_disabled_at_ms: int | None = None) -> Session:
    return Session(
        token="0" * 32,
        sn="SN1",
        vendor_id="v1",
        access_id="a1",
        sealed_secret=b"",
        device_disabled_at_ms=device_disabled_at_ms,
    )


def test_t1_every_session_of_a_revoked_credential_has_ended() -> None:
    ended = Ended(credentials={"a1": 500}, devices={})
    assert ended.covers(session())
    assert not Ended(credentials={"a2": 500}, devices={}).covers(session())


def test_t1_a_disabled_device_loses_the_sessions_it_had_and_keeps_those_authenticated_afterwards() -> None:
    ended = Ended(credentials={}, devices={"SN1": 1000})
    assert ended.covers(session(device_disabled_at_ms=None))
    assert ended.covers(session(device_disabled_at_ms=999))
    assert not ended.covers(session(device_disabled_at_ms=1000))
    assert not Ended(credentials={}, devices={"SN2": 9000}).covers(session())


def test_a_session_that_an_older_release_stored_is_read_and_is_none_of_a_synthetic_vendor() -> None:
    stored: dict[str, object] = {
        "token": "0" * 32,
        "sn": "SN1",
        "vendor_id": "v1",
        "access_id": "a1",
        "sealed_secret": b"",
        "sign_form": None,
        "time_window_seconds": None,
        "site_history": [],
        "device_disabled_at_ms": None,
    }
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(stored), type=Session) == session()
    assert not session().synthetic


def test_site_is_that_of_the_moment() -> None:
    history = (SiteSpan(100, "s1", Direction.IN), SiteSpan(200, "s2", Direction.OUT), SiteSpan(300, None, None))
    assert site_at(history, 99) == (None, None)
    assert site_at(history, 100) == ("s1", Direction.IN)
    assert site_at(history, 199) == ("s1", Direction.IN)
    assert site_at(history, 200) == ("s2", Direction.OUT)
    assert site_at(history, 300) == (None, None)
    assert site_at((), 1) == (None, None)
