"""The device cache over the session store's twin, with a clock that the test owns."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from shared.domain.control import CredentialRevoked, DeviceChanged, DeviceDisabled, SessionReplaced
from shared.domain.sealing import Sealer
from shared.domain.sessions import TOKEN_LIFE_MS, Ended, Session
from shared.protocol.signatures import SignForm
from shared.runtime.unavailable import Unavailable
from shared.stores.ended_view import EndedView
from tcp_ingress.device_cache import CachedSession, DeviceCache
from tests.support.session_values import NOW_MS, make_session

SEALER = Sealer({"k1": bytes(32)})


class Sessions:
    """A session store that answers when the test lets it."""

    def __init__(self, *sessions: Session) -> None:
        self.known = {session.token: session for session in sessions}
        self.asked: list[list[str]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.unavailable = False

    async def find(self, tokens: Sequence[str]) -> Sequence[Session | None]:
        self.asked.append(list(tokens))
        found = [self.known.get(token) for token in tokens]
        await self.may_answer.wait()
        if self.unavailable:
            raise Unavailable("Redis: TimeoutError")
        return found


def hex_token(number: int) -> str:
    return f"{number:032x}"


def session(token: str, sn: str = "sn", access_id: str = "a1", **changes: object) -> Session:
    sealed = SEALER.seal("secret", access_id)
    return make_session(token, sn, access_id=access_id, sealed_secret=sealed, **changes)


def trusted_view() -> EndedView:
    view = EndedView(60_000)
    view.up_to_date(NOW_MS)
    return view


def make_cache(store: Sessions, size: int = 10, view: EndedView | None = None) -> DeviceCache:
    return DeviceCache(store, SEALER, view or trusted_view(), size=size, group_seconds=0.001, window_seconds=600)  # type: ignore[arg-type]  # the twin answers find alone


async def found(cache: DeviceCache, token: str, now_ms: int = NOW_MS) -> CachedSession:
    cached = await cache.find(token, now_ms)
    assert cached is not None
    return cached


async def test_design_4_a_session_is_read_once_and_held_from_its_first_accepted_request() -> None:
    store = Sessions(session(hex_token(1)))
    cache = make_cache(store)
    cached = await found(cache, hex_token(1))
    assert cached.facts.access_secret == "secret"
    assert cached.facts.window_seconds == 600
    assert cache.held(hex_token(1), NOW_MS) is None  # only looked up, nothing accepted yet
    cache.accepted(cached, NOW_MS, SignForm.COMPACT)
    held = cache.held(hex_token(1), NOW_MS)
    assert held is not None
    assert held.facts.remembered is SignForm.COMPACT
    assert store.asked == [[hex_token(1)]]


async def test_the_window_of_vendor_or_device_stands_before_the_settings() -> None:
    cache = make_cache(Sessions(session(hex_token(1), time_window_seconds=3600, sign_form=SignForm.SORTED)))
    facts = (await found(cache, hex_token(1))).facts
    assert (facts.window_seconds, facts.pinned) == (3600, SignForm.SORTED)


async def test_misses_that_come_together_are_one_read_and_each_token_is_asked_for_once() -> None:
    store = Sessions(session(hex_token(1)), session(hex_token(2)))
    cache = make_cache(store)
    results = await asyncio.gather(
        *(cache.find(token, NOW_MS) for token in (hex_token(1), hex_token(2), hex_token(1), hex_token(404)))
    )
    assert [one.session.token if one else None for one in results] == [hex_token(1), hex_token(2), hex_token(1), None]
    assert store.asked == [[hex_token(1), hex_token(2), hex_token(404)]]


async def test_what_was_not_found_is_asked_for_again() -> None:
    store = Sessions()
    cache = make_cache(store)
    assert await cache.find(hex_token(1), NOW_MS) is None
    store.known[hex_token(1)] = session(hex_token(1))
    assert (await found(cache, hex_token(1))).session.token == hex_token(1)


async def test_t1_a_held_session_expires_30_minutes_after_its_last_accepted_request() -> None:
    view = trusted_view()
    cache = make_cache(Sessions(session(hex_token(1))), view=view)
    cached = await found(cache, hex_token(1))
    cache.accepted(cached, NOW_MS, SignForm.AS_SENT)
    later = NOW_MS + TOKEN_LIFE_MS
    view.up_to_date(later)
    assert cache.held(hex_token(1), later - 1) is cached
    cache.accepted(cached, later - 1, SignForm.AS_SENT)
    assert cache.held(hex_token(1), later) is cached
    view.up_to_date(later + TOKEN_LIFE_MS)
    assert cache.held(hex_token(1), later - 1 + TOKEN_LIFE_MS) is None


async def test_the_least_used_sessions_go_first() -> None:
    cache = make_cache(Sessions(*(session(hex_token(n)) for n in range(4))), size=3)
    for number in range(3):
        cache.accepted(await found(cache, hex_token(number)), NOW_MS, SignForm.AS_SENT)
    assert cache.held(hex_token(0), NOW_MS) is not None
    cache.accepted(await found(cache, hex_token(3)), NOW_MS, SignForm.AS_SENT)
    assert len(cache) == 3
    assert cache.held(hex_token(1), NOW_MS) is None
    assert cache.held(hex_token(0), NOW_MS) is not None


async def test_t1_a_replaced_token_is_dropped_at_once() -> None:
    store = Sessions(session(hex_token(1)))
    cache = make_cache(store)
    cache.accepted(await found(cache, hex_token(1)), NOW_MS, SignForm.AS_SENT)
    cache.apply(SessionReplaced("sn", hex_token(1)))
    assert cache.held(hex_token(1), NOW_MS) is None
    # a replica that lags may still have it
    assert await cache.find(hex_token(1), NOW_MS) is None


async def test_design_4_an_invalidation_during_a_fill_voids_it() -> None:
    store = Sessions(session(hex_token(1)))
    cache = make_cache(store)
    store.may_answer.clear()
    filling = asyncio.ensure_future(cache.find(hex_token(1), NOW_MS))
    await asyncio.sleep(0.01)
    cache.apply(SessionReplaced("sn", hex_token(1)))
    store.may_answer.set()
    assert await filling is None


async def test_design_4_a_request_being_judged_when_its_token_is_replaced_does_not_bring_it_back() -> None:
    cache = make_cache(Sessions(session(hex_token(1))))
    cached = await found(cache, hex_token(1))
    cache.apply(SessionReplaced("sn", hex_token(1)))
    cache.accepted(cached, NOW_MS, SignForm.AS_SENT)
    assert cache.held(hex_token(1), NOW_MS) is None


async def test_design_4_a_fill_that_a_lost_stream_overtook_is_read_again() -> None:
    store = Sessions(session(hex_token(1)))
    cache = make_cache(store)
    store.may_answer.clear()
    filling = asyncio.ensure_future(cache.find(hex_token(1), NOW_MS))
    await asyncio.sleep(0.01)
    del store.known[hex_token(1)]
    cache.empty()
    store.may_answer.set()
    assert await filling is None
    assert store.asked == [[hex_token(1)], [hex_token(1)]]


async def test_design_4_a_lost_stream_empties_the_cache() -> None:
    store = Sessions(session(hex_token(1)))
    cache = make_cache(store)
    cache.accepted(await found(cache, hex_token(1)), NOW_MS, SignForm.AS_SENT)
    cache.empty()
    assert len(cache) == 0
    assert cache.held(hex_token(1), NOW_MS) is None


async def test_design_4_an_answer_of_session_that_a_lost_stream_overtook_is_not_held() -> None:
    cache = make_cache(Sessions())
    before = cache.generation
    cache.empty()
    cache.opened(session(hex_token(1)), NOW_MS, before)
    assert cache.held(hex_token(1), NOW_MS) is None
    cache.opened(session(hex_token(1)), NOW_MS, cache.generation)
    assert cache.held(hex_token(1), NOW_MS) is not None
    cache.apply(SessionReplaced("sn", hex_token(2)))
    cache.opened(session(hex_token(2)), NOW_MS, cache.generation)
    assert cache.held(hex_token(2), NOW_MS) is None


async def test_design_3_redis_out_of_reach_is_unavailable_and_never_no_such_token() -> None:
    store = Sessions(session(hex_token(1)))
    cache = make_cache(store)
    store.unavailable = True
    outcomes = await asyncio.gather(*(cache.find(hex_token(1), NOW_MS) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3
    store.unavailable = False
    assert await found(cache, hex_token(1))


async def test_a_waiter_that_gives_up_does_not_take_the_others_answer_away() -> None:
    store = Sessions(session(hex_token(1)))
    cache = make_cache(store)
    store.may_answer.clear()
    impatient = asyncio.ensure_future(cache.find(hex_token(1), NOW_MS))
    patient = asyncio.ensure_future(cache.find(hex_token(1), NOW_MS))
    await asyncio.sleep(0.01)
    impatient.cancel()
    await asyncio.sleep(0)
    store.may_answer.set()
    assert await patient is not None


async def test_design_3_held_sessions_are_served_for_the_grace_and_not_longer() -> None:
    view = trusted_view()
    cache = make_cache(Sessions(session(hex_token(1))), view=view)
    cache.accepted(await found(cache, hex_token(1)), NOW_MS, SignForm.AS_SENT)
    assert cache.held(hex_token(1), NOW_MS + 60_000) is not None
    with pytest.raises(Unavailable):
        cache.held(hex_token(1), NOW_MS + 60_001)
    with pytest.raises(Unavailable):
        await cache.find(hex_token(1), NOW_MS + 60_001)
    view.up_to_date(NOW_MS + 70_000)
    assert cache.held(hex_token(1), NOW_MS + 70_000) is not None


async def test_nobody_is_judged_before_the_ended_set_is_known() -> None:
    cache = make_cache(Sessions(), view=EndedView(60_000))
    with pytest.raises(Unavailable):
        await cache.find(hex_token(1), NOW_MS)


async def test_design_5_a_session_is_judged_ended_at_every_request() -> None:
    view = trusted_view()
    cache = make_cache(
        Sessions(session(hex_token(1), "sn-1"), session(hex_token(2), "sn-2", access_id="a2")), view=view
    )
    first = await found(cache, hex_token(1))
    assert not cache.facts(first).ended
    second = await found(cache, hex_token(2))
    view.apply(CredentialRevoked("a1", NOW_MS))
    assert cache.facts(first).ended
    assert not cache.facts(second).ended
    view.apply(DeviceDisabled("sn-2", NOW_MS))
    assert cache.facts(second).ended


async def test_design_5_of_a_session_that_is_known_here_it_is_said_whether_it_has_ended() -> None:
    view = trusted_view()
    cache = make_cache(Sessions(session(hex_token(1)), session(hex_token(2), access_id="a2")), view=view)
    for token in (hex_token(1), hex_token(2)):
        cache.accepted(await found(cache, token), NOW_MS, SignForm.AS_SENT)
    tokens = [hex_token(1), hex_token(2), hex_token(404), ""]
    assert [cache.has_ended(token) for token in tokens] == [False] * 4
    view.apply(CredentialRevoked("a1", NOW_MS))
    assert [cache.has_ended(token) for token in tokens] == [True, False, False, False]
    cache.empty()
    assert [cache.has_ended(token) for token in tokens] == [True, False, False, False]


async def test_t1_an_ended_session_stays_401_02_after_redis_lost_its_token_until_it_would_have_expired() -> None:
    store = Sessions(session(hex_token(1)), session(hex_token(2), access_id="a2"))
    view = trusted_view()
    cache = make_cache(store, view=view)
    for token in (hex_token(1), hex_token(2)):
        cache.accepted(await found(cache, token), NOW_MS, SignForm.AS_SENT)
    view.apply(CredentialRevoked("a1", NOW_MS))
    store.known.clear()
    cache.empty()
    view.add(Ended({}, {}), NOW_MS)
    for _ in range(2):
        assert cache.facts(await found(cache, hex_token(1))).ended
        assert await cache.find(hex_token(2), NOW_MS) is None
        cache.empty()
    view.up_to_date(NOW_MS + TOKEN_LIFE_MS)
    assert await cache.find(hex_token(1), NOW_MS + TOKEN_LIFE_MS - 1) is not None
    assert await cache.find(hex_token(1), NOW_MS + TOKEN_LIFE_MS) is None


async def test_design_7_remembered_sessions_are_bounded() -> None:
    store = Sessions(*(session(hex_token(n)) for n in range(6)))
    view = trusted_view()
    cache = make_cache(store, size=3, view=view)
    view.apply(CredentialRevoked("a1", NOW_MS))
    for half in (range(3), range(3, 6)):
        for number in half:
            cache.accepted(await found(cache, hex_token(number)), NOW_MS, SignForm.AS_SENT)
        cache.empty()
    store.known.clear()
    remembered = [await cache.find(hex_token(number), NOW_MS) is not None for number in range(6)]
    assert remembered == [False, False, False, True, True, True]


async def test_design_4_a_changed_devices_session_is_read_again_and_others_are_not() -> None:
    store = Sessions(session(hex_token(1), "sn-1"), session(hex_token(2), "sn-2"))
    cache = make_cache(store)
    for token in (hex_token(1), hex_token(2)):
        cache.accepted(await found(cache, token), NOW_MS, SignForm.AS_SENT)
    store.known[hex_token(1)] = session(hex_token(1), "sn-1", time_window_seconds=3600)
    cache.apply(DeviceChanged("sn-1"))
    assert cache.held(hex_token(1), NOW_MS) is None
    assert cache.held(hex_token(2), NOW_MS) is not None
    changed = await found(cache, hex_token(1))
    assert changed.facts.window_seconds == 3600
    cache.accepted(changed, NOW_MS, SignForm.AS_SENT)
    assert cache.held(hex_token(1), NOW_MS) is changed


async def test_design_4_a_change_of_the_device_during_a_fill_voids_it() -> None:
    store = Sessions(session(hex_token(1), "sn-1"))
    cache = make_cache(store)
    store.may_answer.clear()
    filling = asyncio.ensure_future(cache.find(hex_token(1), NOW_MS))
    await asyncio.sleep(0.01)
    store.known[hex_token(1)] = session(hex_token(1), "sn-1", time_window_seconds=3600)
    cache.apply(DeviceChanged("sn-1"))
    store.may_answer.set()
    filled = await filling
    assert filled is not None
    assert filled.facts.window_seconds == 3600
    assert store.asked == [[hex_token(1)], [hex_token(1)]]


async def test_design_4_a_change_of_another_device_during_a_fill_does_not_void_it() -> None:
    store = Sessions(session(hex_token(1), "sn-1"))
    cache = make_cache(store)
    store.may_answer.clear()
    filling = asyncio.ensure_future(cache.find(hex_token(1), NOW_MS))
    await asyncio.sleep(0.01)
    cache.apply(DeviceChanged("sn-2"))
    store.may_answer.set()
    assert await filling is not None
    assert store.asked == [[hex_token(1)]]


async def test_design_4_neither_a_request_being_judged_nor_an_answer_of_session_brings_a_changed_one_back() -> None:
    cache = make_cache(Sessions(session(hex_token(1), "sn-1")))
    cached, before = await found(cache, hex_token(1)), cache.generation
    cache.apply(DeviceChanged("sn-1"))
    cache.accepted(cached, NOW_MS, SignForm.AS_SENT)
    assert cache.held(hex_token(1), NOW_MS) is None
    cache.opened(session(hex_token(2), "sn-1"), NOW_MS, before)
    assert cache.held(hex_token(2), NOW_MS) is None
    cache.opened(session(hex_token(2), "sn-1"), NOW_MS, cache.generation)
    assert cache.held(hex_token(2), NOW_MS) is not None


async def test_design_7_of_too_many_changes_none_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tcp_ingress.device_cache.CHANGES_KEPT", 2)
    cache = make_cache(Sessions(session(hex_token(1), "sn-1"), session(hex_token(9), "sn-9")))
    for token in (hex_token(1), hex_token(9)):
        cache.accepted(await found(cache, token), NOW_MS, SignForm.AS_SENT)
    for number in (1, 2):
        cache.apply(DeviceChanged(f"sn-{number}"))
    assert cache.held(hex_token(9), NOW_MS) is not None
    cache.apply(DeviceChanged("sn-3"))
    assert len(cache) == 0
    cache.accepted(await found(cache, hex_token(9)), NOW_MS, SignForm.AS_SENT)
    cache.apply(DeviceChanged("sn-9"))
    assert cache.held(hex_token(9), NOW_MS) is None


async def test_a_secret_sealed_with_another_key_is_our_fault() -> None:
    foreign = msgspec.structs.replace(
        session(hex_token(1)), sealed_secret=Sealer({"k1": b"1" * 32}).seal("secret", "a1")
    )
    with pytest.raises(Unavailable):
        await make_cache(Sessions(foreign)).find(hex_token(1), NOW_MS)


@pytest.mark.parametrize("text", ["", "0" * 31, "0" * 33, "G" + "0" * 31, "A" * 32, "\uff10" * 32, "0" * 1_000_000])
async def test_m4_what_has_not_the_form_of_a_token_is_unknown_without_asking_redis(text: str) -> None:
    store = Sessions()
    assert await make_cache(store).find(text, NOW_MS) is None
    assert store.asked == []
