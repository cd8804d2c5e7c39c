"""A real Prometheus watches a running platform by the rules of deploy/k8s/components/monitoring: every query of rules
and dashboards is answered, nothing fires while all is well, and each alert fires when its fault is there.

A minute of the rules is a second here (two, where a metric is compared with it), and it is always 23:00 in Shanghai.
`-s` prints how long each alert took.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import NamedTuple

import pytest

from stack.guard import Guard
from tests.fixtures.otlp import OtlpReceiver, running_receiver
from tests.fixtures.stack import RunningStack
from tests.support import part_faults, terminal_faults
from tests.support.fault_scene import Fault, Scene, everyday_business
from tests.support.monitored_platform import Monitored, fleet, new_vendor, watched
from tests.support.monitoring import alerts, filled_in, panels, recorded, rule_file, rules, shortened
from tests.support.operators import Operators, open_operators
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

DIVISOR, TIMES_DIVISOR = 60, 30
INTERVAL = "1s"
RATE_INTERVAL = "5s"
CLOCK, ELEVEN_IN_THE_EVENING = "site_access:shanghai_second_of_day", "vector(82800)"
FIRES_WITHIN_SECONDS = 120.0
SILENT_WITHIN_SECONDS = 90.0
"""An earlier case may have set an alert off, too."""
QUIET_SECONDS, QUIET_WITHIN_SECONDS = 5.0, 120.0

MAY_BE_EMPTY = {
    ("fleet", "Clocks that are off, by vendor"): "a vendor is counted from its first terminal whose clock was off",
    ("slo", "Alerts that fire"): "none does",
}
"""Panels without data while all is well, and why. All others have some."""


class Case(NamedTuple):
    """Faults that are there at the same time, and which alerts have to fire."""

    faults: tuple[Fault, ...]
    fire: frozenset[str]
    later: frozenset[str] = frozenset()
    """Alerts whose windows are so long that they fire after the fault is gone."""


CASES = {
    "Kafka hangs": Case(
        (part_faults.kafka_hangs,),
        frozenset({"SignInErrorBudgetBurnFast", "SignInsSlow", "SyntheticSignInFailing"}),
        later=frozenset({"SignInErrorBudgetBurnSlow"}),
    ),
    "MongoDB hangs": Case(
        (part_faults.mongodb_hangs_while_terminals_come_anew,),
        frozenset({"WriterLag", "WriterStalled", "AttendanceIncomplete", "AuthenticationsUnavailable"}),
    ),
    "terminals, records and secrets": Case(
        (
            terminal_faults.a_vendor_signs_wrongly,
            terminal_faults.a_vendor_goes_on_with_a_revoked_credential,
            terminal_faults.clocks_of_a_vendor_are_off,
            terminal_faults.terminals_of_a_site_leave,
            part_faults.a_record_is_no_json,
            part_faults.the_sensitive_topic_takes_no_pictures,
            terminal_faults.a_stored_secret_was_altered,
            terminal_faults.a_package_does_not_install,
        ),
        frozenset(
            {
                "VendorRequestsRefused",
                "VendorTokensRefused",
                "ClockSkew",
                "TerminalsOffline",
                "DeadLetters",
                "ProducerReplaced",
                "UnsealErrors",
                "CampaignPaused",
            }
        ),
    ),
    "Redis hangs": Case(
        (part_faults.redis_hangs_while_terminals_ask_for_tasks,), frozenset({"PresenceWaiting", "TasksUnavailable"})
    ),
    "Redis is emptied": Case((part_faults.redis_loses_everything,), frozenset({"IndexRebuilt"})),
    "records are deleted": Case((part_faults.retention_overtakes_the_writer,), frozenset({"RecordsLost"})),
    "task-api stands still": Case(
        (part_faults.task_api_stands_still,), frozenset({"ServiceDown", "ProcessUnreachable"})
    ),
}


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with running_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def monitored(tmp_path_factory: pytest.TempPathFactory, guard: Guard, receiver: OtlpReceiver) -> Iterator[Monitored]:
    """A platform of its own with forty terminals at work, and the Prometheus."""
    folder = tmp_path_factory.mktemp("monitored")
    stack = RunningStack(
        folder / "run",
        guard,
        ["up", "--synthetic"],
        SYNTHETIC_TERMINAL_INTERVAL_SECONDS="1",
        SYNTHETIC_TERMINAL_ANSWER_TIMEOUT_SECONDS="7",
        SYNTHETIC_TERMINAL_STORED_TIMEOUT_SECONDS="5",
        SESSION_SITE_DEVICES_SECONDS="1",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_TRACES_SAMPLER_ARG="0.1",
    )
    stack.start()
    try:
        short = shortened(rule_file(), DIVISOR, TIMES_DIVISOR)
        for rule in (rule for group in short["groups"] for rule in group["rules"]):
            if rule.get("record") == CLOCK:
                rule["expr"] = ELEVEN_IN_THE_EVENING
        terminals = ["--terminals", "40", "--sign-ins-per-minute", "8", "--start-spread-seconds", "1"]
        with (
            fleet(stack, guard, new_vendor(stack, "Busy Gates"), *terminals),
            watched(stack, folder / "prometheus", guard, short, INTERVAL) as prometheus,
        ):
            yield Monitored(stack, prometheus)
    finally:
        stack.process.stop(60)


@pytest.fixture
async def operators(monitored: Monitored) -> AsyncIterator[Operators]:
    async with open_operators(monitored.stack.console, monitored.stack.admin_token) as operators:
        yield operators


def has_data(monitored: Monitored, expression: str) -> bool:
    found = monitored.prometheus.query(filled_in(expression, RATE_INTERVAL))
    return any(not math.isnan(sample.value) for sample in found)


def test_every_alert_has_a_fault() -> None:
    covered = [name for case in CASES.values() for name in case.fire | case.later]
    assert sorted(covered) == sorted(alerts())


async def test_every_query_is_answered_and_nothing_fires_while_all_is_well(
    monitored: Monitored, operators: Operators
) -> None:
    async with everyday_business(Scene(monitored, operators)):
        empty: list[tuple[str, str, str]] = []

        def all_have_data() -> bool:
            empty[:] = [
                (panel.dashboard, panel.title, expression)
                for panel in panels()
                for expression in panel.expressions
                if (panel.dashboard, panel.title) not in MAY_BE_EMPTY and not has_data(monitored, expression)
            ]
            return not empty

        try:
            await eventually(lambda: asyncio.to_thread(all_have_data), 90)
        except TimeoutError:
            pytest.fail(f"no data: {empty}")
        for dashboard, title in MAY_BE_EMPTY:
            (panel,) = (one for one in panels() if (one.dashboard, one.title) == (dashboard, title))
            for expression in panel.expressions:  # asked all the same: it has to parse
                monitored.prometheus.query(filled_in(expression, RATE_INTERVAL))
        assert [name for name in sorted(recorded()) if not has_data(monitored, name)] == []
        assert not has_data(monitored, "site_access:attendance_freshness"), "what is not there has no data"
        running = monitored.prometheus.rules()
        assert len(running) == len(list(rules()))
        assert [rule["name"] for rule in running if rule["health"] != "ok"] == []
    await quiet(monitored)


async def quiet(monitored: Monitored) -> None:
    """Returns after some seconds without an alert. A machine that is too busy makes sign-ins slow, and it is said so:
    that has to pass first."""
    quiet_since = time.monotonic()
    async with asyncio.timeout(QUIET_WITHIN_SECONDS):
        while time.monotonic() < quiet_since + QUIET_SECONDS:
            if await monitored.active("firing"):
                quiet_since = time.monotonic()
            await asyncio.sleep(0.5)


async def test_a_latency_on_the_sign_in_dashboard_leads_to_a_trace(
    monitored: Monitored, receiver: OtlpReceiver
) -> None:
    (panel,) = (one for one in panels() if (one.dashboard, one.title) == ("sign-in", "Time to the answer"))
    asked = filled_in(panel.expressions[0], RATE_INTERVAL)

    def a_trace_is_named() -> bool:
        now = time.time()
        named = {
            exemplar["labels"]["trace_id"]
            for series in monitored.prometheus.exemplars(asked, now - 300, now)
            for exemplar in series["exemplars"]
        }
        return bool(named & {span.trace_id for span in receiver.named("device C_SIGN_IN")})

    await eventually(lambda: asyncio.to_thread(a_trace_is_named), 60)


@pytest.mark.parametrize("name", CASES)
async def test_alerts_fire_when_their_fault_is_there(name: str, monitored: Monitored, operators: Operators) -> None:
    case = CASES[name]

    async def all_silent() -> bool:
        return not case.fire & await monitored.active("pending", "firing")

    await eventually(all_silent, SILENT_WITHIN_SECONDS)
    began, took = time.monotonic(), dict[str, float]()

    async def all_fire() -> bool:
        for alert in case.fire & await monitored.active("firing") - took.keys():
            took[alert] = time.monotonic() - began
        return took.keys() == case.fire

    async with AsyncExitStack() as stack:
        for fault in case.faults:
            await stack.enter_async_context(fault(Scene(monitored, operators)))
        try:
            await eventually(all_fire, FIRES_WITHIN_SECONDS)
        except TimeoutError:
            pytest.fail(f"silent: {sorted(case.fire - took.keys())}")
    print(name, {alert: f"{seconds:.1f} s" for alert, seconds in took.items()})
    for told in monitored.prometheus.alerts():
        assert not [text for text in told["annotations"].values() if "{{" in text or "<error" in text], told["labels"]


async def test_alerts_of_long_windows_fire_after_the_faults_above(monitored: Monitored) -> None:
    later = frozenset[str]().union(*(case.later for case in CASES.values()))
    assert later

    async def all_fire() -> bool:
        return later <= await monitored.active("firing")

    await eventually(all_fire, FIRES_WITHIN_SECONDS)
