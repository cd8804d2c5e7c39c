"""The sessions that this process holds, so that a heartbeat costs no round trip (design rules 3, 4, 5).

1. A session is kept from its first accepted request on, and until its own expiry: it was read from Redis without its
   remaining life, and only an accepted request prolongs that (T1).
2. A replaced token is dead for ever. Those of the last minutes are remembered, so that neither a fill nor an answer
   of the session service that was under way brings one back.
3. Whoever may have missed entries of the control stream empties the cache; a fill that began before is void. So is
   what is held or was under way of a device when it is changed.
4. Revocation is judged at every request, by the view of the ended set, and nobody is judged where that is too old.
5. Sessions that had ended are remembered when the cache is emptied: 401_02 is the answer until they would have expired,
   though Redis knows the token no more (T1).
"""

import asyncio
from collections import OrderedDict

import msgspec

from shared.domain.control import ControlEntry, DeviceChanged, SessionReplaced
from shared.domain.sealing import Sealer, UnsealError
from shared.domain.sessions import TOKEN_LIFE_MS, Session, is_token
from shared.protocol.signatures import SignForm
from shared.protocol.verification import SessionFacts
from shared.runtime.tasks import spawn
from shared.runtime.unavailable import Unavailable
from shared.stores.ended_view import EndedView
from shared.stores.interfaces import SessionStore

REPLACED_KEPT = 20_000
"""Replaced tokens that are remembered: far more than come while one fill is under way."""
CHANGES_KEPT = 20_000
"""Changed devices that are remembered; with one more the cache is emptied."""
MAX_TOKENS_A_READ = 1_000
MAX_READS = 3
"""Fills of one token that may be void before the caller is told to try again."""


class CachedSession:
    """A session with what is derived from it once."""

    __slots__ = ("expires_ms", "facts", "generation", "session")

    def __init__(self, session: Session, facts: SessionFacts, generation: int) -> None:
        self.session = session
        self.facts = facts
        self.generation = generation
        """Of the cache before the session was read (rule 3)."""
        self.expires_ms = 0


class DeviceCache:
    """Sessions by token, bounded; the least used go first."""

    def __init__(
        self,
        store: SessionStore,
        sealer: Sealer,
        ended: EndedView,
        *,
        size: int,
        group_seconds: float,
        window_seconds: int,
    ) -> None:
        self.fills = 0
        self.generation = 0
        """Rises whenever something that was read before is void (rule 3)."""
        self._store = store
        self._sealer = sealer
        self._ended = ended
        self._size = size
        self._group_seconds = group_seconds
        self._window_seconds = window_seconds
        self._sessions: OrderedDict[str, CachedSession] = OrderedDict()
        self._had_ended: OrderedDict[str, CachedSession] = OrderedDict()
        self._replaced: OrderedDict[str, None] = OrderedDict()
        self._emptied = 0
        self._changed: dict[str, int] = {}
        self._misses: dict[str, asyncio.Future[Session | None]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def held(self, token: str, now_ms: int) -> CachedSession | None:
        """The session where it is held here and has not expired. Raises Unavailable past the grace (rule 4)."""
        self._ended.check_trusted(now_ms)
        cached = self._sessions.get(token)
        if cached is None:
            return None
        if cached.expires_ms <= now_ms or self._is_void(cached.session.sn, cached.generation):
            del self._sessions[token]
            return None
        self._sessions.move_to_end(token)
        return cached

    async def find(self, token: str, now_ms: int) -> CachedSession | None:
        """The session, from Redis where it is not held here; None where there is no such token. Raises Unavailable."""
        cached = self.held(token, now_ms)
        if cached is not None:
            return cached
        if not is_token(token):
            return None
        for _ in range(MAX_READS):
            generation = self.generation
            session = await self._read(token)
            if not self._is_void(None if session is None else session.sn, generation):
                break
        else:
            raise Unavailable("a session became void again and again while it was read")
        if token in self._replaced:
            return None
        if session is None:
            had_ended = self._had_ended.get(token)
            return had_ended if had_ended is not None and had_ended.expires_ms > now_ms else None
        self._ended.check_trusted(now_ms)
        return self.held(token, now_ms) or self._opened(session, generation)

    def accepted(self, cached: CachedSession, now_ms: int, form: SignForm) -> None:
        """A request of the session was accepted: it is held from now on, prolonged, with the form that it signs."""
        cached.expires_ms = now_ms + TOKEN_LIFE_MS
        if cached.facts.remembered is not form:
            cached.facts = msgspec.structs.replace(cached.facts, remembered=form)
        token = cached.session.token
        if token in self._replaced:
            return
        self._sessions[token] = cached
        if len(self._sessions) > self._size:
            self._sessions.popitem(last=False)

    def opened(self, session: Session, now_ms: int, generation: int) -> None:
        """A C_AUTH that came this way opened the session; `generation` is that of before the call (rule 3).
        Raises Unavailable where its secret does not open."""
        if session.token not in self._replaced:
            cached = self._opened(session, generation)
            cached.expires_ms = now_ms + TOKEN_LIFE_MS
            self._sessions[session.token] = cached
            if len(self._sessions) > self._size:
                self._sessions.popitem(last=False)

    def facts(self, cached: CachedSession) -> SessionFacts:
        """What the checks need, with the judgement of this moment whether the session was ended."""
        if self._ended.covers(cached.session):
            return msgspec.structs.replace(cached.facts, ended=True)
        return cached.facts

    def has_ended(self, token: str) -> bool:
        """True where a session that is known here was ended (rule 5)."""
        cached = self._sessions.get(token) or self._had_ended.get(token)
        return cached is not None and self._ended.covers(cached.session)

    def apply(self, entry: ControlEntry) -> None:
        """Takes one entry of the control stream."""
        match entry:
            case SessionReplaced(token=token):
                self._sessions.pop(token, None)
                self._replaced[token] = None
                if len(self._replaced) > REPLACED_KEPT:
                    self._replaced.popitem(last=False)
            case DeviceChanged(sn=sn):
                self.generation += 1
                self._changed[sn] = self.generation
                if len(self._changed) > CHANGES_KEPT:
                    self.empty()

    def empty(self) -> None:
        """Entries may have been missed (rule 3)."""
        for token, cached in self._sessions.items():
            if self._ended.covers(cached.session):
                self._had_ended[token] = cached
        while len(self._had_ended) > self._size:
            self._had_ended.popitem(last=False)
        self._sessions.clear()
        self._changed.clear()
        self.generation += 1
        self._emptied = self.generation

    def _is_void(self, sn: str | None, generation: int) -> bool:
        """What was read at that generation, of that device or of none, must be read again."""
        return self._emptied > generation or (sn is not None and self._changed.get(sn, 0) > generation)

    def _opened(self, session: Session, generation: int) -> CachedSession:
        try:
            secret = self._sealer.open(session.sealed_secret, session.access_id)
        except UnsealError as error:
            raise Unavailable("a session's secret does not open: sealing keys differ between services") from error
        facts = SessionFacts(
            sn=session.sn,
            access_secret=secret,
            ended=False,
            window_seconds=session.time_window_seconds or self._window_seconds,
            pinned=session.sign_form,
            remembered=None,
        )
        return CachedSession(session, facts, generation)

    async def _read(self, token: str) -> Session | None:
        future = self._misses.get(token)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            if not self._misses:
                spawn(self._read_group(), "session-fill")
            self._misses[token] = future
        await asyncio.wait([future])  # not awaited itself: a caller that gives up must not cancel it for the others
        return future.result()

    async def _read_group(self) -> None:
        """One call for all tokens that were missed within the time."""
        await asyncio.sleep(self._group_seconds)
        misses, self._misses = self._misses, {}
        tokens = list(misses)
        for start in range(0, len(tokens), MAX_TOKENS_A_READ):
            part = tokens[start : start + MAX_TOKENS_A_READ]
            self.fills += 1
            try:
                sessions = await self._store.find(part)
            except Unavailable as error:
                for token in part:
                    misses[token].set_exception(Unavailable(str(error)))
                    misses[token].exception()  # seen, also where nobody waits any more
            else:
                for token, session in zip(part, sessions, strict=True):
                    misses[token].set_result(session)
