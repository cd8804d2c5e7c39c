"""C_AUTH: each outcome of E2, in groups, over stores in memory."""

import asyncio
import logging
from collections.abc import Sequence

import msgspec
import pytest

from session_service.authenticate import Authenticator
from session_service.metrics import SessionMetrics
from session_service.settings import SessionSettings
from session_service.vendors import Issued, Vendors
from shared.domain.authentication import AuthCall, AuthReply
from shared.domain.control import SessionReplaced
from shared.domain.devices import Device, Direction, SiteSpan
from shared.domain.sealing import Sealer
from shared.protocol.messages import AuthRequest
from shared.protocol.signatures import SignForm
from shared.protocol.verification import AuthFacts, verify_auth
from shared.runtime.clock import ManualClock
from shared.stores.memory import (
    MemoryControlStream,
    MemoryCredentialStore,
    MemoryDeviceStore,
    MemorySessionStore,
)
from tests.support.session_values import NOW_MS, auth_sign, make_auth_call, make_device

NOW = "20261124140000"
"""NOW_MS as a terminal in Zhejiang writes it."""


class HangingDeviceStore(MemoryDeviceStore):
    """Answers never."""

    async def find(self, sns: Sequence[str]) -> dict[str, Device]:
        await asyncio.Event().wait()
        return {}


class ShortIdDeviceStore(MemoryDeviceStore):
    """Has a limit, as a query of MongoDB has."""

    async def find(self, sns: Sequence[str]) -> dict[str, Device]:
        assert max(map(len, sns)) <= 64
        return await super().find(sns)


class RacedDeviceStore(MemoryDeviceStore):
    """Between the look and the registration, somebody stores the device with changes."""

    def __init__(self, **changes: object) -> None:
        super().__init__()
        self._changes = changes

    async def register(self, devices: Sequence[Device]) -> dict[str, Device]:
        for device in devices:
            self.put(msgspec.structs.replace(device, **self._changes))
        return await super().register(devices)


class Service:
    """The authenticator over stores in memory, and a vendor with a credential."""

    def __init__(self, devices: MemoryDeviceStore | None = None, **settings: object) -> None:
        self.settings = SessionSettings(internal_token="t" * 32, **settings)  # type: ignore[arg-type]  # the test's own
        self.clock = ManualClock(NOW_MS)
        self.control = MemoryControlStream()
        self.credentials = MemoryCredentialStore()
        self.devices = devices or MemoryDeviceStore()
        self.sessions = MemorySessionStore(self.clock, self.control)
        self.sealer = Sealer({"k1": b"0" * 32})
        self.metrics = SessionMetrics()
        self.vendors = Vendors(self.credentials, self.sealer, self.clock)
        self.authenticator = Authenticator(
            self.settings,
            credentials=self.credentials,
            devices=self.devices,
            sessions=self.sessions,
            sealer=self.sealer,
            clock=self.clock,
            metrics=self.metrics,
        )

    async def vendor(self, sign_form: SignForm | None = None, time_window_seconds: int | None = None) -> Issued:
        """A vendor with a credential."""
        return await self.vendors.admit("Maker", sign_form, time_window_seconds)

    async def answer(self, *calls: AuthCall) -> list[AuthReply]:
        """A group's replies."""
        return list(await self.authenticator.authenticate(calls))


def auth(issued: Issued, sn: str = "1388186", **changes: object) -> AuthCall:
    """A C_AUTH that is right but for the changes."""
    values = {
        "access_id": issued.credential.access_id,
        "access_key": issued.credential.access_key,
        "access_secret": issued.access_secret,
        "sn": sn,
        "time_stamp": NOW,
        **changes,
    }
    return make_auth_call(**values)  # type: ignore[arg-type]  # the test's own changes


def code(reply: AuthReply) -> str | None:
    """The error's code, None for a session."""
    assert (reply.session is None) == (reply.error_code is not None)
    return reply.error_code


@pytest.mark.parametrize("nine_fields", [False, True])
async def test_m2_either_layout_opens_a_session(nine_fields: bool) -> None:
    service = Service()
    issued = await service.vendor()
    (reply,) = await service.answer(auth(issued, nine_fields=nine_fields))
    session = reply.session
    assert session is not None
    assert len(session.token) == 32
    assert set(session.token) <= set("0123456789abcdef")
    assert (session.sn, session.vendor_id) == ("1388186", issued.vendor.vendor_id)
    assert session.access_id == issued.credential.access_id
    assert service.sealer.open(session.sealed_secret, session.access_id) == issued.access_secret
    assert await service.sessions.find([session.token]) == [session]


async def test_a_device_is_registered_by_its_first_c_auth_and_bound_to_that_vendor() -> None:
    service = Service()
    issued = await service.vendor()
    await service.answer(auth(issued))
    assert await service.devices.find(["1388186"]) == {"1388186": make_device("1388186", issued.vendor.vendor_id)}


async def test_e2_an_unknown_access_id_a_wrong_key_and_a_wrong_secret_are_400_04_alike() -> None:
    service = Service()
    issued = await service.vendor()
    replies = await service.answer(
        auth(issued, access_id="0" * 32),
        auth(issued, access_key="0" * 32),
        auth(issued, nine_fields=True, sent_secret="0" * 32),
    )
    assert [code(reply) for reply in replies] == ["400_04"] * 3
    assert len({reply.detail for reply in replies}) == 1
    assert await service.devices.find(["1388186"]) == {}


async def test_e2_a_revoked_credential_is_401_02_before_all_that_follows() -> None:
    service = Service()
    issued, other = await service.vendor(), await service.vendor()
    await service.answer(auth(other))
    await service.credentials.revoke(issued.vendor.vendor_id, issued.credential.access_id, NOW_MS)
    (reply,) = await service.answer(auth(issued, time_stamp="x", param="{", sign="x"))
    assert code(reply) == "401_02"


async def test_e2_another_vendors_device_is_400_04_before_it_is_disabled() -> None:
    service = Service()
    issued = await service.vendor()
    service.devices.put(make_device("1388186", "another", disabled=True))
    (reply,) = await service.answer(auth(issued, time_stamp="x"))
    assert (code(reply), reply.detail) == ("400_04", "sn belongs to another vendor")


async def test_e2_a_disabled_device_is_401_02_before_its_time_stamp() -> None:
    service = Service()
    issued = await service.vendor()
    service.devices.put(make_device("1388186", issued.vendor.vendor_id, disabled=True))
    (reply,) = await service.answer(auth(issued, time_stamp="x"))
    assert (code(reply), reply.detail) == ("401_02", "device disabled")


async def test_only_devices_entered_beforehand_are_let_in_where_the_setting_says_so() -> None:
    service = Service(register_devices="known")
    issued = await service.vendor()
    service.devices.put(make_device("2", issued.vendor.vendor_id))
    unknown, known, revoked_key = await service.answer(
        auth(issued, "1", time_stamp="x"), auth(issued, "2"), auth(issued, "1", access_key="0")
    )
    assert (code(unknown), unknown.detail) == ("401_02", "device not registered")
    assert (code(known), code(revoked_key)) == (None, "400_04")
    assert await service.devices.find(["1"]) == {}


async def test_a_revoked_credential_is_not_called_an_unregistered_device() -> None:
    service = Service(register_devices="known")
    issued = await service.vendor()
    await service.credentials.revoke(issued.vendor.vendor_id, issued.credential.access_id, NOW_MS)
    (reply,) = await service.answer(auth(issued))
    assert (code(reply), reply.detail) == ("401_02", "credential revoked")


async def test_e2_time_stamp_then_param_then_sign() -> None:
    service = Service()
    issued = await service.vendor()
    replies = await service.answer(
        auth(issued, time_stamp="x", param="{", sign="x"),
        auth(issued, param="{", sign="x"),
        auth(issued, sign="x"),
    )
    assert [code(reply) for reply in replies] == ["400_05", "400_02", "400_04"]


async def test_e3_the_window_is_the_devices_else_its_vendors_else_the_settings() -> None:
    service = Service(time_window_seconds=600)
    plain, wide = await service.vendor(), await service.vendor(time_window_seconds=1200)
    service.devices.put(make_device("own", wide.vendor.vendor_id, time_window_seconds=1800))
    replies = await service.answer(
        auth(plain, "1", time_stamp="20261124141000"),
        auth(plain, "2", time_stamp="20261124141001"),
        auth(wide, "3", time_stamp="20261124134000"),
        auth(wide, "4", time_stamp="20261124133959"),
        auth(wide, "own", time_stamp="20261124133000"),
        auth(wide, "own", time_stamp="20261124132959"),
    )
    assert [code(reply) for reply in replies] == [None, "400_05", None, "400_05", None, "400_05"]
    assert NOW in replies[1].detail
    windows = [reply.session.time_window_seconds for reply in replies if reply.session is not None]
    assert windows == [None, 1200, 1800]


async def test_s3_a_vendor_may_be_pinned_to_a_form() -> None:
    service = Service()
    pinned = await service.vendor(sign_form=SignForm.SORTED)
    param = '{"b":1,"a":2}'
    fields = ("v1.0.0", "1388186", "C_AUTH", pinned.credential.access_id, pinned.credential.access_key, NOW)
    in_order = auth_sign(*fields, '{"a":2,"b":1}', pinned.access_secret)
    as_sent, as_sorted = await service.answer(auth(pinned, param=param), auth(pinned, param=param, sign=in_order))
    assert (code(as_sent), code(as_sorted)) == ("400_04", None)
    assert as_sorted.session is not None
    assert as_sorted.session.sign_form is SignForm.SORTED


async def test_a_session_says_whether_its_vendor_is_synthetic() -> None:
    service = Service()
    measuring = await service.vendors.admit("Maker", None, None, synthetic=True)
    replies = await service.answer(auth(measuring, "measuring"), auth(await service.vendor(), "other"))
    assert [reply.session is not None and reply.session.synthetic for reply in replies] == [True, False]


async def test_design_rule_11_the_session_carries_the_sites_of_the_device() -> None:
    service = Service()
    issued = await service.vendor()
    history = (SiteSpan(NOW_MS, "s1", Direction.IN),)
    service.devices.put(make_device("1388186", issued.vendor.vendor_id, site_history=history))
    (reply,) = await service.answer(auth(issued))
    assert reply.session is not None
    assert reply.session.site_history == history


async def test_design_rule_5_the_session_says_what_its_c_auth_knew_of_the_device_being_disabled() -> None:
    service = Service()
    issued = await service.vendor()
    service.devices.put(make_device("1388186", issued.vendor.vendor_id, disabled=False, disabled_at_ms=NOW_MS - 5))
    known, new = await service.answer(auth(issued), auth(issued, "new"))
    assert known.session is not None
    assert new.session is not None
    assert (known.session.device_disabled_at_ms, new.session.device_disabled_at_ms) == (NOW_MS - 5, None)


async def test_e4_a_replay_is_400_05_within_a_group_and_across_groups_and_layouts() -> None:
    service = Service()
    issued = await service.vendor()
    first, within = await service.answer(auth(issued), auth(issued, nine_fields=True))
    call = auth(issued)
    upper = msgspec.structs.replace(call.request, sign=call.request.sign.upper())
    (across,) = await service.answer(msgspec.structs.replace(call, request=upper))
    assert [code(reply) for reply in (first, within, across)] == [None, "400_05", "400_05"]
    assert NOW in across.detail
    (later,) = await service.answer(auth(issued, time_stamp="20261124140001"))
    assert code(later) is None


async def test_e4_a_sign_is_remembered_for_as_long_as_its_time_stamp_is_accepted() -> None:
    service = Service(time_window_seconds=600)
    issued = await service.vendor()
    ahead = auth(issued, time_stamp="20261124141000")
    assert code((await service.answer(ahead))[0]) is None
    service.clock.advance(1200)
    (reply,) = await service.answer(ahead)
    assert (code(reply), "already accepted" in reply.detail) == ("400_05", True)
    service.clock.advance(1)
    (reply,) = await service.answer(ahead)
    assert (code(reply), "already accepted" in reply.detail) == ("400_05", False)


async def test_t1_a_new_c_auth_replaces_the_earlier_token() -> None:
    service = Service()
    issued = await service.vendor()
    await service.control.read(1)
    (first,) = await service.answer(auth(issued))
    (second,) = await service.answer(auth(issued, time_stamp="20261124140001"))
    assert first.session is not None
    assert second.session is not None
    assert await service.sessions.find([first.session.token, second.session.token]) == [None, second.session]
    assert await service.control.read(1) == [SessionReplaced("1388186", first.session.token)]


async def test_a_group_is_answered_in_order_with_each_calls_own_outcome() -> None:
    service = Service()
    issued = await service.vendor()
    good = [auth(issued, f"sn-{number}") for number in range(50)]
    bad = [auth(issued, f"sn-{number}", sign="x") for number in range(50)]
    replies = await service.answer(*(call for pair in zip(good, bad, strict=True) for call in pair))
    assert [code(reply) for reply in replies] == [None, "400_04"] * 50
    assert [reply.session.sn for reply in replies if reply.session is not None] == [f"sn-{n}" for n in range(50)]
    assert service.metrics.authentications["accepted"] == 50
    assert service.metrics.authentications["400_04"] == 50


async def test_an_empty_group_has_an_empty_answer() -> None:
    assert await Service().answer() == []


async def test_of_two_vendors_in_one_group_that_claim_a_new_sn_the_first_gets_it() -> None:
    service = Service()
    first, second = await service.vendor(), await service.vendor()
    replies = await service.answer(auth(first), auth(second))
    assert [code(reply) for reply in replies] == [None, "400_04"]
    assert replies[1].detail == "sn belongs to another vendor"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"vendor_id": "another"}, ("400_04", "sn belongs to another vendor")),
        ({"disabled": True}, ("401_02", "device disabled")),
        ({}, (None, "")),
    ],
)
async def test_a_race_for_a_new_sn_is_decided_by_what_is_stored(
    change: dict[str, object], expected: tuple[str | None, str]
) -> None:
    service = Service(devices=RacedDeviceStore(**change))
    issued = await service.vendor()
    (reply,) = await service.answer(auth(issued))
    assert (code(reply), reply.detail) == expected


async def test_rule_7_past_the_bound_a_failing_c_auth_is_500_01_and_a_right_one_still_passes() -> None:
    service = Service(auth_failures_max=3, auth_failures_window_seconds=60)
    issued = await service.vendor()
    wrong = auth(issued, sign="x")
    replies = [(await service.answer(wrong))[0] for _ in range(5)]
    assert [code(reply) for reply in replies] == ["400_04"] * 3 + ["500_01"] * 2
    assert replies[-1].detail == "too many failed authentications, wait 60 s"
    service.clock.advance(10)
    (reply,) = await service.answer(wrong)
    assert reply.detail.endswith("wait 50 s")
    assert service.metrics.throttled == 3
    right, other_address, other_device = await service.answer(
        auth(issued), auth(issued, sign="x", address="10.0.0.2"), auth(issued, "2", sign="x")
    )
    assert [code(reply) for reply in (right, other_address, other_device)] == [None, "400_04", "400_04"]
    service.clock.advance(50)
    assert code((await service.answer(wrong))[0]) == "400_04"


async def test_rule_7_a_group_counts_each_of_its_failures() -> None:
    service = Service(auth_failures_max=3)
    issued = await service.vendor()
    replies = await service.answer(*[auth(issued, sign="x")] * 5)
    assert [code(reply) for reply in replies] == ["400_04"] * 3 + ["500_01"] * 2


async def test_rule_7_a_wrong_clock_is_no_failure_that_is_counted() -> None:
    service = Service(auth_failures_max=1)
    issued = await service.vendor()
    replies = await service.answer(*[auth(issued, time_stamp="20200101000000")] * 3)
    assert [code(reply) for reply in replies] == ["400_05"] * 3


@pytest.mark.parametrize("away", ["credentials", "devices", "sessions"])
async def test_rule_3_a_server_that_is_away_makes_the_whole_group_500_01(away: str) -> None:
    service = Service()
    issued = await service.vendor()
    getattr(service, away).available = False
    replies = await service.answer(auth(issued), auth(issued, sign="x"), auth(issued, access_id="0"))
    assert [code(reply) for reply in replies] == ["500_01"] * 3
    assert sum(service.metrics.unavailable.values()) == 1


async def test_ids_that_fill_a_frame_are_refused_and_never_looked_up() -> None:
    service = Service(devices=ShortIdDeviceStore())
    issued = await service.vendor()
    replies = await service.answer(auth(issued, "s" * 65), auth(issued, access_id="a" * 4_000_000), auth(issued))
    assert [code(reply) for reply in replies] == ["400_02", "400_04", None]


async def test_a_fault_of_ours_that_one_call_meets_costs_the_others_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service()
    issued = await service.vendor()

    def faulty(request: AuthRequest, facts: AuthFacts | None, now_ms: int) -> SignForm:
        if request.sn == "2":
            raise ZeroDivisionError
        return verify_auth(request, facts, now_ms)

    monkeypatch.setattr("session_service.authenticate.verify_auth", faulty)
    replies = await service.answer(auth(issued, "1"), auth(issued, "2"), auth(issued, "3"))
    assert [code(reply) for reply in replies] == [None, "500_01", None]
    assert "ZeroDivisionError" in caplog.text


async def test_an_outage_is_logged_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    service = Service()
    issued = await service.vendor()
    service.sessions.available = False
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            await service.answer(auth(issued))
        service.sessions.available = True
        for number in range(3):
            await service.answer(auth(issued, str(number)))
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_rule_12_a_group_that_hangs_is_500_01_within_the_deadline() -> None:
    service = Service(devices=HangingDeviceStore(), request_deadline_seconds=0.05)
    issued = await service.vendor()
    async with asyncio.timeout(1):
        (reply,) = await service.answer(auth(issued))
    assert code(reply) == "500_01"
    assert service.metrics.unavailable["deadline"] == 1


async def test_a_secret_that_does_not_open_is_our_fault_and_the_others_of_its_group_pass(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = Service()
    sealed_elsewhere, issued = await service.vendor(), await service.vendor()
    foreign = Sealer({"k2": b"1" * 32}).seal(sealed_elsewhere.access_secret, sealed_elsewhere.credential.access_id)
    await service.credentials.add_credential(
        msgspec.structs.replace(sealed_elsewhere.credential, sealed_secret=foreign)
    )
    with caplog.at_level(logging.ERROR):
        replies = await service.answer(auth(sealed_elsewhere, "1"), auth(issued, "2"))
    assert [code(reply) for reply in replies] == ["500_01", None]
    assert sealed_elsewhere.credential.access_id in caplog.text
    assert service.metrics.unseal_errors == 1


async def test_rule_8_no_answer_and_no_log_holds_a_secret_a_key_or_a_sign(caplog: pytest.LogCaptureFixture) -> None:
    service = Service(auth_failures_max=1)
    issued = await service.vendor()
    right = auth(issued)
    with caplog.at_level(logging.DEBUG):
        replies = await service.answer(
            auth(issued, sign="f" * 32), auth(issued, sign="f" * 32), right, right, auth(issued, param="{" * 70_000)
        )
        service.sessions.available = False
        replies += await service.answer(right)
    told = "".join(reply.detail for reply in replies) + caplog.text
    assert not [
        word
        for word in (issued.access_secret, issued.credential.access_key, right.request.sign, "f" * 32)
        if word in told
    ]


async def test_refusals_are_counted_by_the_vendor_whose_access_id_was_named() -> None:
    service = Service()
    issued = await service.vendor()
    vendor_id = issued.vendor.vendor_id
    await service.answer(auth(issued), auth(issued, "other", access_secret="wrong"), auth(issued, access_id="0" * 32))
    assert refusals(service) == {(vendor_id, "400_04"): 1, ("unknown", "400_04"): 1}


async def test_our_own_fault_is_a_refusal_of_the_vendor_where_it_is_known_already() -> None:
    service = Service()
    issued = await service.vendor()
    service.sessions.available = False
    await service.answer(auth(issued))
    service.credentials.available = False
    await service.answer(auth(issued))
    assert refusals(service) == {(issued.vendor.vendor_id, "500_01"): 1, ("unknown", "500_01"): 1}


def refusals(service: Service) -> dict[tuple[str, str], int]:
    """Those that there were, by vendor and code."""
    return {
        (sample.labels["vendor"], sample.labels["outcome"]): int(sample.value)
        for family in service.metrics.process.registry.collect()
        for sample in family.samples
        if sample.name == "session_refusals_total" and sample.value
    }
