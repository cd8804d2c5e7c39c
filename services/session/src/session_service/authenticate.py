"""C_AUTH in groups: gather what is known, judge each call by the pure core, write what was accepted (E2, E4, T1).

1. A group costs two lookups in MongoDB, side by side, one more write where devices are new, and then one call to
   Redis for what was accepted and one for what failed, side by side.
2. A server that does not answer makes every call of its group 500_01: our fault is never the device's (rule 3).
3. Failures are counted for those that failed alone: a right signature always passes (rule 7).
"""

import asyncio
import logging
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import msgspec

from session_service.metrics import ACCEPTED, SessionMetrics
from session_service.settings import SessionSettings
from shared.domain.authentication import AuthCall, AuthReply
from shared.domain.credentials import Credential, Vendor
from shared.domain.devices import Device
from shared.domain.sealing import Sealer, UnsealError
from shared.domain.sessions import Session
from shared.protocol.device_time import time_stamp_error
from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.verification import AuthFacts, check_head, verify_auth
from shared.runtime.clock import Clock
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import CredentialStore, DeviceStore, NewSession, SessionStore

log = logging.getLogger(__name__)

REPLAY_MARGIN_MS = 60_000
"""The guard outlives the window by this: the processes' clocks, by which the window is judged, differ a little."""


LONGEST_ID = 64
"""Characters of an sn (J2); our accessIds are shorter."""


class _Known(msgspec.Struct, frozen=True):
    """A credential, whose it is, and its secret; None where the secret does not open."""

    credential: Credential
    vendor: Vendor
    secret: str | None


class _Accepted(msgspec.Struct, frozen=True):
    """A call that passed every check but the replay guard, and the device that it speaks for."""

    call: AuthCall
    known: _Known
    device: Device


_Verdict = _Accepted | ProtocolError


class Authenticator:
    """Answers groups of C_AUTHs."""

    def __init__(
        self,
        settings: SessionSettings,
        *,
        credentials: CredentialStore,
        devices: DeviceStore,
        sessions: SessionStore,
        sealer: Sealer,
        clock: Clock,
        metrics: SessionMetrics,
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._devices = devices
        self._sessions = sessions
        self._sealer = sealer
        self._clock = clock
        self._metrics = metrics
        self._out_of_service = False

    async def authenticate(self, calls: Sequence[AuthCall]) -> Sequence[AuthReply]:
        """Answers each call, in order. Never raises for what a device or a server did."""
        vendors: dict[str, str] = {}
        try:
            async with asyncio.timeout(self._settings.request_deadline_seconds):
                replies = await self._answer(calls, vendors)
        except TimeoutError:
            self._metrics.unavailable["deadline"] += 1
            replies = self._not_available(calls, "not done within the deadline")
        except Unavailable as error:
            replies = self._not_available(calls, str(error))
        else:
            if self._out_of_service:
                log.info("C_AUTHs are answered again")
            self._out_of_service = False
        self._metrics.group_sizes.record(len(calls))
        for call, reply in zip(calls, replies, strict=True):
            self._metrics.authentications[reply.error_code or ACCEPTED] += 1
            if reply.error_code is not None:
                self._metrics.refusals.add(vendors.get(call.request.access_id), reply.error_code)
        return replies

    def _not_available(self, calls: Sequence[AuthCall], reason: str) -> Sequence[AuthReply]:
        # Logged when it begins and when it ends: a storm of C_AUTHs must not become a storm of lines.
        if not self._out_of_service:
            log.warning("C_AUTHs are answered 500_01: %s", reason)
        self._out_of_service = True
        return [_refusal(ProtocolError(ErrorCode.SYSTEM, "out of service for the moment, send again"))] * len(calls)

    async def _answer(self, calls: Sequence[AuthCall], vendors: dict[str, str]) -> Sequence[AuthReply]:
        """Answers where nothing of ours fails; `vendors` takes up whose the accessIds are, also where it does then."""
        with self._counted("mongo"):
            found, devices = await asyncio.gather(
                self._credentials.find_credentials(_plausible(call.request.access_id for call in calls)),
                self._devices.find(_plausible(call.request.sn for call in calls)),
            )
        vendors |= {access_id: vendor.vendor_id for access_id, (_, vendor) in found.items()}
        known = {access_id: self._unsealed(*pair) for access_id, pair in found.items()}
        now_ms = self._clock.now_ms()

        def judge(call: AuthCall) -> _Verdict:
            try:
                return self._judge(call, known.get(call.request.access_id), devices.get(call.request.sn), now_ms)
            except Exception:  # a fault of ours that one call meets must not cost its group the answers
                log.exception("a C_AUTH could not be judged")
                return ProtocolError(ErrorCode.SYSTEM, "this is our fault, and it has been logged")

        verdicts = [judge(call) for call in calls]
        new = _first_of_each_sn(verdict for verdict in verdicts if isinstance(verdict, _Accepted))
        unregistered = [device for device in new if device.sn not in devices]
        if unregistered:
            with self._counted("mongo"):
                devices |= await self._devices.register(unregistered)
            # Another vendor may have been faster, in this group or elsewhere: what is stored now is what counts.
            verdicts = [judge(call) for call in calls]
        with self._counted("redis"):
            opened, refused = await asyncio.gather(self._open_sessions(verdicts), self._refuse(calls, verdicts))
        replies = opened | refused
        return [replies[number] for number in range(len(calls))]

    def _unsealed(self, credential: Credential, vendor: Vendor) -> _Known:
        try:
            secret = self._sealer.open(credential.sealed_secret, credential.access_id)
        except UnsealError as error:
            self._metrics.unseal_errors += 1
            log.error("the secret of credential %s does not open: %s", credential.access_id, error)  # noqa: TRY400 -- no stack needed
            return _Known(credential, vendor, None)
        return _Known(credential, vendor, secret)

    def _judge(self, call: AuthCall, known: _Known | None, device: Device | None, now_ms: int) -> _Verdict:
        if known is not None and known.secret is None:
            return ProtocolError(ErrorCode.SYSTEM, "credential cannot be read")
        may_register = self._settings.register_devices == "open"
        facts = None if known is None else self._facts(known, device, may_register)
        try:
            check_head(call.request)
            verify_auth(call.request, facts, now_ms)
        except ProtocolError as error:
            if error.code is ErrorCode.REVOKED and facts is not None and facts.active and device is None:
                return ProtocolError(ErrorCode.REVOKED, "device not registered")
            return error
        known = cast(_Known, known)  # verify_auth refuses where nothing is known
        if device is None:
            device = Device(sn=call.request.sn, vendor_id=known.vendor.vendor_id, registered_at_ms=now_ms)
        return _Accepted(call, known, device)

    def _facts(self, known: _Known, device: Device | None, may_register: bool) -> AuthFacts:
        return AuthFacts(
            access_key=known.credential.access_key,
            access_secret=cast(str, known.secret),
            active=known.credential.revoked_at_ms is None,
            bound_elsewhere=device is not None and device.vendor_id != known.vendor.vendor_id,
            device_enabled=may_register if device is None else not device.disabled,
            window_seconds=_own_window_seconds(known, device) or self._settings.time_window_seconds,
            sign_form=known.vendor.sign_form,
        )

    async def _open_sessions(self, verdicts: Sequence[_Verdict]) -> dict[int, AuthReply]:
        accepted = [(number, one) for number, one in enumerate(verdicts) if isinstance(one, _Accepted)]
        sessions = await self._sessions.open_many([self._new_session(one) for _number, one in accepted])
        return {
            number: self._replay() if session is None else AuthReply(session=session)
            for (number, _one), session in zip(accepted, sessions, strict=True)
        }

    def _new_session(self, accepted: _Accepted) -> NewSession:
        credential, vendor, device = accepted.known.credential, accepted.known.vendor, accepted.device
        own_window = _own_window_seconds(accepted.known, device)
        session = Session(
            token=secrets.token_hex(16),
            sn=device.sn,
            vendor_id=vendor.vendor_id,
            access_id=credential.access_id,
            sealed_secret=credential.sealed_secret,
            sign_form=vendor.sign_form,
            time_window_seconds=own_window,
            site_history=device.site_history,
            device_disabled_at_ms=device.disabled_at_ms,
            synthetic=vendor.synthetic,
        )
        # A timeStamp may lie a window ahead, and is then good for two windows from now.
        window_ms = 2 * (own_window or self._settings.time_window_seconds) * 1000 + REPLAY_MARGIN_MS
        return NewSession(session=session, sign=accepted.call.request.sign.lower(), replay_window_ms=window_ms)

    def _replay(self) -> AuthReply:
        return _refusal(time_stamp_error("this request was already accepted", self._clock.now_ms()))

    async def _refuse(self, calls: Sequence[AuthCall], verdicts: Sequence[_Verdict]) -> dict[int, AuthReply]:
        errors = {number: one for number, one in enumerate(verdicts) if isinstance(one, ProtocolError)}
        failed = [number for number, error in errors.items() if error.code is ErrorCode.SIGN]
        sources = [f"{calls[number].address}\x1f{calls[number].request.sn}" for number in failed]
        window_ms = self._settings.auth_failures_window_seconds * 1000
        counts = await self._sessions.count_failures(sources, window_ms)
        for number, failures in zip(failed, counts, strict=True):
            if failures.count > self._settings.auth_failures_max:
                self._metrics.throttled += 1
                wait = -(-failures.window_left_ms // 1000)
                errors[number] = ProtocolError(ErrorCode.SYSTEM, f"too many failed authentications, wait {wait} s")
        return {number: _refusal(error) for number, error in errors.items()}

    @contextmanager
    def _counted(self, server: str) -> Iterator[None]:
        try:
            yield
        except Unavailable:
            self._metrics.unavailable[server] += 1
            raise


def _plausible(ids: Iterable[str]) -> list[str]:
    """Those worth looking up: one that fills a frame must not spoil the lookup of its group."""
    return [one for one in ids if len(one) <= LONGEST_ID]


def _refusal(error: ProtocolError) -> AuthReply:
    return AuthReply(error_code=error.code.code, detail=error.detail)


def _own_window_seconds(known: _Known, device: Device | None) -> int | None:
    """The device's window, else its vendor's, else None (design rule 14)."""
    return (device.time_window_seconds if device is not None else None) or known.vendor.time_window_seconds


def _first_of_each_sn(accepted: Iterable[_Accepted]) -> Iterable[Device]:
    devices: dict[str, Device] = {}
    for one in accepted:
        devices.setdefault(one.device.sn, one.device)
    return devices.values()
