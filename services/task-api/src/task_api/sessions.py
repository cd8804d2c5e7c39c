"""The session behind a token: found in Redis, opened, judged, prolonged (T1, S3)."""

import logging
from collections import OrderedDict

import msgspec

from shared.domain.sealing import Sealer, UnsealError
from shared.domain.sessions import Session, is_token
from shared.protocol.signatures import SignForm
from shared.protocol.verification import SessionFacts
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import SessionStore
from task_api.ended_view import EndedView

log = logging.getLogger(__name__)

FORMS_KEPT = 20_000
"""Sessions whose sign form is remembered; it saves hashing and decides nothing."""


class KnownSession(msgspec.Struct, frozen=True):
    """A session and its credential's secret, opened."""

    session: Session
    secret: str


class Sessions:
    """Sessions by token. Each request reads its own: task-api is asked seldom, and then by many different devices."""

    def __init__(self, store: SessionStore, ended: EndedView, sealer: Sealer) -> None:
        self._store = store
        self._ended = ended
        self._sealer = sealer
        self._forms: OrderedDict[str, SignForm] = OrderedDict()

    async def find(self, token: str) -> KnownSession | None:
        """None where there is no such token, or it expired. Raises Unavailable."""
        if not is_token(token):
            return None
        (session,) = await self._store.find([token])
        if session is None:
            return None
        try:
            secret = self._sealer.open(session.sealed_secret, session.access_id)
        except UnsealError as error:
            raise Unavailable("a session's secret does not open: sealing keys differ between services") from error
        return KnownSession(session, secret)

    def facts(self, known: KnownSession) -> SessionFacts:
        """What the checks need, with the judgement of this moment whether the session was ended. Raises Unavailable."""
        session = known.session
        return SessionFacts(
            sn=session.sn,
            access_secret=known.secret,
            ended=self._ended.covers(session),
            window_seconds=0,  # no request over HTTPS carries a time (E3)
            pinned=session.sign_form,
            remembered=self._forms.get(session.token),
        )

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
