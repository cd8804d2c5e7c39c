"""The session behind a token: found in Redis, opened, judged, prolonged (T1, S3)."""

import logging
from collections import OrderedDict

import msgspec

from shared.domain.sealing import Sealer, UnsealError
from shared.domain.sessions import TOKEN_LIFE_MS, Session, is_token
from shared.protocol.signatures import SignForm
from shared.protocol.verification import SessionFacts
from shared.runtime.clock import Clock
from shared.runtime.unavailable import Unavailable
from shared.stores.ended_view import EndedView
from shared.stores.interfaces import SessionStore

log = logging.getLogger(__name__)

FORMS_KEPT = 20_000
"""Sessions whose sign form is remembered; it saves hashing and decides nothing."""
REFUSED_KEPT = 20_000
"""Ended sessions that are remembered once they were refused: 401_02 is the answer though Redis lost the token (T1)."""


class KnownSession(msgspec.Struct, frozen=True):
    """A session and its credential's secret, opened."""

    session: Session
    secret: str


class Sessions:
    """Sessions by token. Each request reads its own: task-api is asked seldom, and then by many different devices."""

    def __init__(self, store: SessionStore, ended: EndedView, sealer: Sealer, clock: Clock) -> None:
        self._store = store
        self._ended = ended
        self._sealer = sealer
        self._clock = clock
        self._forms: OrderedDict[str, SignForm] = OrderedDict()
        self._refused: OrderedDict[str, tuple[KnownSession, int]] = OrderedDict()  # and until when at the latest

    async def find(self, token: str) -> KnownSession | None:
        """None where there is no such token, or it expired. Raises Unavailable."""
        if not is_token(token):
            return None
        (session,) = await self._store.find([token])
        if session is None:
            return self._refused_before(token)
        try:
            secret = self._sealer.open(session.sealed_secret, session.access_id)
        except UnsealError as error:
            raise Unavailable("a session's secret does not open: sealing keys differ between services") from error
        return KnownSession(session, secret)

    def facts(self, known: KnownSession) -> SessionFacts:
        """What the checks need, with the judgement of this moment whether the session was ended. Raises Unavailable."""
        session, now_ms = known.session, self._clock.now_ms()
        self._ended.check_trusted(now_ms)
        is_ended = self._ended.covers(session)
        if is_ended and session.token not in self._refused:
            self._refused[session.token] = known, now_ms + TOKEN_LIFE_MS
            if len(self._refused) > REFUSED_KEPT:
                self._refused.popitem(last=False)
        return SessionFacts(
            sn=session.sn,
            access_secret=known.secret,
            ended=is_ended,
            window_seconds=0,  # no request over HTTPS carries a time (E3)
            pinned=session.sign_form,
            remembered=self._forms.get(session.token),
        )

    def _refused_before(self, token: str) -> KnownSession | None:
        known, until_ms = self._refused.get(token, (None, 0))
        if known is None or until_ms <= self._clock.now_ms() or not self._ended.covers(known.session):
            return None
        return known

    async def accepted(self, session: Session, form: SignForm) -> None:
        """Prolongs the token, and remembers the form. What was done stays done where Redis is away: the device's
        heartbeats prolong the token too."""
        self._forms[session.token] = form
        self._forms.move_to_end(session.token)
        if len(self._forms) > FORMS_KEPT:
            self._forms.popitem(last=False)
        try:
            await self._store.renew([(session.token, session.sn)])
        except Unavailable as error:
            log.debug("a token was not prolonged: %s", error)
