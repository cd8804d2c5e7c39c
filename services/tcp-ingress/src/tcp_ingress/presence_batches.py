"""Which devices this process holds, told to Redis once a second in one call, and to Kafka after it (T2, design rule 6).

1. A device is held by the connections that carried an accepted request of it (F7: a connection may carry several);
   the last one that did is its connection. A connection that did not carry it before takes it over: a new epoch.
2. A device whose last connection closed, or that was silent for too long, leaves: first in Redis, fenced by its epoch,
   then as an event. A device that is back before the next call has not left.
3. A connection that we ourselves told to go hands its devices over: they come back elsewhere within seconds, so
   nothing is told. Should one not come back, the sweep of the session service finds it.
4. While Redis is out of reach, what is to be told waits, the newest of each device.
5. That a device came on line is in the trace of the request by which it did, where that is sampled. That it left, and
   what merely changed, follows from no request.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from shared.domain.attendance import rfc3339
from shared.domain.presence import (
    MAX_FACT_CHARACTERS,
    OfflineReason,
    Presence,
    PresenceEvent,
    PresenceState,
    offline_event,
)
from shared.domain.sessions import Session
from shared.runtime.clock import Clock
from shared.runtime.refusals import VendorLabels
from shared.runtime.tracing import SampledSpan
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import PresenceStore, Touch

log = logging.getLogger(__name__)

MAX_A_CALL = 1_000
"""Devices of one call: 7 ms in which Redis serves nobody else, and as long in which this process does not."""
SKEW_TOLD_AGAIN_MS = 60_000
"""A terminal whose clock jumps to and fro is told no more often."""


class Carrier(Protocol):
    """A connection, as far as presence knows it."""

    @property
    def address(self) -> str: ...

    @property
    def lost(self) -> bool: ...

    def push(self, message: bytes) -> bool:
        """Sends a command between answers (C1); False where the peer cannot take it now."""
        ...


class EventSink(Protocol):
    """Where events go: shared.kafka.presence_sender.PresenceSender."""

    def put(self, event: PresenceEvent, cause: SampledSpan | None = None) -> None:
        """Takes an event; `cause` is the sampled request that it follows from."""
        ...


class PresenceRules(msgspec.Struct, frozen=True, kw_only=True):
    """When what is told."""

    interval_seconds: float
    silent_ms: int
    """How long without an accepted request until a device is off line (T2)."""
    skew_ms: int
    """A change of a clock's skew by more than this is told."""
    skew_alert_ms: int
    """A device whose clock is off by more than this is counted."""
    refresh_ms: int
    """What has not changed is told again after so long, so that lastSeenAt is not older."""
    max_held: int


class _Facts(msgspec.Struct, frozen=True):
    """What events tell of a device."""

    address: str
    version: str | None
    ip: str | None
    skew_ms: int


class _Device:
    """A device that this process holds."""

    __slots__ = (
        "carriers",
        "cause",
        "epoch",
        "facts",
        "is_skewed",
        "seen_ms",
        "sn",
        "takes_over",
        "token",
        "told",
        "told_ms",
        "vendor_id",
    )

    def __init__(self, session: Session) -> None:
        self.sn = session.sn
        self.vendor_id = session.vendor_id
        self.token = session.token
        self.carriers: list[Carrier] = []
        self.epoch = 0
        self.takes_over = True
        self.cause: SampledSpan | None = None
        """The request that took it over, where that is sampled and not told yet."""
        self.seen_ms = 0
        self.is_skewed = False
        self.facts = _Facts("", None, None, 0)
        self.told = self.facts
        self.told_ms = 0


class PresenceBatches:
    """The devices of one process."""

    def __init__(self, store: PresenceStore, events: EventSink, clock: Clock, rules: PresenceRules) -> None:
        self.not_held = 0
        """Requests of devices past the bound."""
        self.skewed: dict[str, int] = {}
        """By vendor: how many of the devices have a clock that is off. A vendor that had one stays."""
        self._vendors = VendorLabels()
        self._store = store
        self._events = events
        self._clock = clock
        self._rules = rules
        self._devices: OrderedDict[str, _Device] = OrderedDict()  # the one that was silent for longest comes first
        self._carried: dict[Carrier, set[str]] = {}
        self._touched: dict[str, None] = {}  # accepted since the last call
        self._uncarried: dict[str, Touch] = {}  # by token
        self._leaving: dict[str, OfflineReason | None] = {}  # None: handed over

    def __len__(self) -> int:
        return len(self._devices)

    @property
    def waiting(self) -> int:
        """Devices that Redis is to be told of."""
        return len(self._touched) + len(self._uncarried) + len(self._leaving)

    def carrier_of(self, sn: str) -> Carrier | None:
        """The connection that last carried an accepted request of the device; None where none is left (C1)."""
        device = self._devices.get(sn)
        return device.carriers[-1] if device is not None and device.carriers else None

    def token_of(self, sn: str) -> str:
        """With which the device was last accepted here; empty where it is not held."""
        device = self._devices.get(sn)
        return "" if device is None else device.token

    def is_taking_over(self, sn: str) -> bool:
        """A connection here carries the device that did not before, and Redis was not told yet."""
        device = self._devices.get(sn)
        return device is not None and device.takes_over

    def accepted(
        self,
        carrier: Carrier,
        session: Session,
        sent_at_ms: int,
        now_ms: int,
        version: str | None = None,
        ip: str | None = None,
        span: SampledSpan | None = None,
    ) -> None:
        """A request of the device was accepted; `version` and `ip` are what it tells of itself, where it does."""
        sn = session.sn
        device = self._devices.get(sn)
        if carrier.lost or (device is None and len(self._devices) >= self._rules.max_held):
            self._accepted_without_carrier(session, is_lost=carrier.lost)
            return
        if device is None:
            device = self._devices[sn] = _Device(session)
        else:
            self._devices.move_to_end(sn)
        if not device.carriers or device.carriers[-1] is not carrier:
            self._carry(device, carrier, span)
        device.token = session.token
        device.seen_ms = now_ms
        skew_ms = sent_at_ms - now_ms
        facts = device.facts
        version = facts.version if version is None else version[:MAX_FACT_CHARACTERS]
        ip = facts.ip if ip is None else ip[:MAX_FACT_CHARACTERS]
        device.facts = _Facts(carrier.address, version, ip, skew_ms)
        if (abs(skew_ms) > self._rules.skew_alert_ms) is not device.is_skewed:
            self._turn_skewed(device)
        self._touched[sn] = None

    def left(self, carrier: Carrier, *, was_told_to: bool) -> None:
        """The connection is closed; `was_told_to`: by ourselves, for a reason that is not its own (rule 3)."""
        for sn in self._carried.pop(carrier, ()):
            device = self._devices[sn]
            device.carriers.remove(carrier)
            if not device.carriers:
                self._leaving[sn] = None if was_told_to else OfflineReason.CLOSED

    async def run(self) -> None:
        """Tells Redis for ever. Redis out of reach is waited for."""
        reachable = True
        while True:
            await asyncio.sleep(self._rules.interval_seconds)
            try:
                await self.flush()
                reachable = True
            except Unavailable as error:
                if reachable:
                    log.warning("presence and tokens' lives are told later: %s", error)
                reachable = False

    async def flush(self) -> None:
        """Tells Redis all that waits. Raises Unavailable; nothing is lost then."""
        self._find_silent(self._clock.now_ms())
        while self._uncarried:
            part = dict(list(self._uncarried.items())[:MAX_A_CALL])
            await self._store.touch_many(list(part.values()))
            for token in part:
                del self._uncarried[token]
        while self._touched:
            await self._touch([self._devices[sn] for sn in list(self._touched)[:MAX_A_CALL]])
        while leaving := [sn for sn in self._leaving if sn not in self._touched]:
            await self._leave(leaving[:MAX_A_CALL])

    def _carry(self, device: _Device, carrier: Carrier, span: SampledSpan | None) -> None:
        if carrier in device.carriers:
            device.carriers.remove(carrier)
        else:
            device.takes_over = True
            device.cause = span
            self._carried.setdefault(carrier, set()).add(device.sn)
        if not device.carriers:
            self._leaving.pop(device.sn, None)
        device.carriers.append(carrier)

    def _accepted_without_carrier(self, session: Session, *, is_lost: bool) -> None:
        if not is_lost:
            self.not_held += 1
        if len(self._uncarried) < self._rules.max_held:
            self._uncarried[session.token] = Touch(
                sn=session.sn, vendor_id=session.vendor_id, token=session.token, age_ms=0, carried=False
            )

    def _turn_skewed(self, device: _Device) -> None:
        device.is_skewed = not device.is_skewed
        vendor = self._vendors.of(device.vendor_id)
        self.skewed[vendor] = self.skewed.get(vendor, 0) + (1 if device.is_skewed else -1)

    def _find_silent(self, now_ms: int) -> None:
        silent_since_ms = now_ms - self._rules.silent_ms
        for sn, device in self._devices.items():
            if device.seen_ms > silent_since_ms:
                break
            if device.carriers:
                self._let_go(device)
                self._leaving[sn] = OfflineReason.SILENT

    def _let_go(self, device: _Device) -> None:
        for carrier in device.carriers:
            of_carrier = self._carried[carrier]
            of_carrier.discard(device.sn)
            if not of_carrier:
                del self._carried[carrier]
        device.carriers.clear()

    def _forget(self, device: _Device) -> None:
        self._let_go(device)
        if device.is_skewed:
            self._turn_skewed(device)
        self._leaving.pop(device.sn, None)
        del self._devices[device.sn]

    # ── Redis, then Kafka ────────────────────────────────────────────────────────────────────────────────────────

    async def _touch(self, devices: Sequence[_Device]) -> None:
        now_ms = self._clock.now_ms()
        touches = [
            Touch(
                sn=device.sn,
                vendor_id=device.vendor_id,
                token=device.token,
                age_ms=now_ms - device.seen_ms,
                epoch=device.epoch,
                takes_over=device.takes_over,
                address=device.facts.address,
            )
            for device in devices
        ]
        seen = [(device.seen_ms, device.cause) for device in devices]
        for device in devices:
            device.takes_over = False
            device.cause = None
            del self._touched[device.sn]
        try:
            epochs = await self._store.touch_many(touches)
        except BaseException:  # cancelled or not: nothing is known to be told
            self._touch_again(zip(devices, touches, seen, strict=True))
            raise
        for device, epoch, (seen_ms, cause) in zip(devices, epochs, seen, strict=True):
            if not epoch:
                self._superseded(device, is_newer=device.seen_ms > seen_ms)
            elif epoch != device.epoch:
                device.epoch = epoch
                self._tell(device, PresenceState.ONLINE, cause)
            elif self._has_news(device):
                self._tell(device, PresenceState.CHANGED, None)

    def _touch_again(self, told: Iterable[tuple[_Device, Touch, tuple[int, SampledSpan | None]]]) -> None:
        for device, touch, (_, cause) in told:
            device.takes_over = device.takes_over or touch.takes_over
            device.cause = device.cause or cause
            self._touched[device.sn] = None

    def _superseded(self, device: _Device, *, is_newer: bool) -> None:
        """Another process has a newer request of it."""
        if is_newer:
            device.takes_over = True  # but here came one meanwhile
        else:
            self._forget(device)

    async def _leave(self, sns: Sequence[str]) -> None:
        reasons = {sn: self._leaving[sn] for sn in sns}
        told = [sn for sn, reason in reasons.items() if reason is not None]
        epochs = {sn: self._devices[sn].epoch for sn in told}
        left = dict(zip(told, await self._store.leave_many(list(epochs.items())), strict=True))
        for sn, reason in reasons.items():
            device = self._devices[sn]
            if reason is not None and left[sn]:
                self._events.put(offline_event(_presence(device), self._clock.now_ms(), reason))
            if sn in self._touched:
                device.takes_over = True  # it was back while Redis was told that it left
            else:
                self._forget(device)

    def _has_news(self, device: _Device) -> bool:
        now, told, age_ms = device.facts, device.told, device.seen_ms - device.told_ms
        return (
            (now.address, now.version, now.ip) != (told.address, told.version, told.ip)
            or age_ms >= self._rules.refresh_ms
            or (abs(now.skew_ms - told.skew_ms) > self._rules.skew_ms and age_ms >= SKEW_TOLD_AGAIN_MS)
        )

    def _tell(self, device: _Device, state: PresenceState, cause: SampledSpan | None) -> None:
        device.told, device.told_ms = device.facts, device.seen_ms
        known = _presence(device)
        self._events.put(
            PresenceEvent(
                sn=known.sn,
                vendor_id=known.vendor_id,
                state=state,
                epoch=known.epoch,
                at=rfc3339(self._clock.now_ms()),
                last_seen_at=rfc3339(known.last_seen_ms),
                address=known.address,
                device_version=known.device_version,
                device_ip=known.device_ip,
                clock_skew_seconds=known.clock_skew_seconds,
            ),
            cause,
        )


def _presence(device: _Device) -> Presence:
    facts = device.facts
    return Presence(
        sn=device.sn,
        vendor_id=device.vendor_id,
        online=bool(device.carriers),
        epoch=device.epoch,
        last_seen_ms=device.seen_ms,
        address=facts.address or None,
        device_version=facts.version,
        device_ip=facts.ip,
        clock_skew_seconds=round(facts.skew_ms / 1000),
    )
