"""`make run`: the platform with simulated terminals and a live summary."""

import os
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from stack.fleet_progress import LOG_BLOCK_BYTES, Progress, last_report
from stack.http_client import RequestFailed, get, metric_total, post_json
from stack.kept_secrets import VendorAccess, keep_vendor
from stack.platform import Platform
from stack.process import Process, StackError
from stack.site_story import SiteStory
from stack.stop_request import StopRequest

TICK_SECONDS = 0.1
SAMPLE_SECONDS = 1.0
PLAIN_LINE_SECONDS = 5.0
FLEET_GRACE_SECONDS = 10.0
CATCH_UP_SECONDS = 10.0
FIRST_TASK_SECONDS = 3.0
TASK_SECONDS = 5.0
STRAYING_SHARE = "0.5"
"""Else the few of a site would mostly have nothing to be made good."""
TASK_WISHES: tuple[dict[str, object], ...] = (
    {"apicode": "T_POST_DEVICE_PERSON", "excludeFields": ["img"], "push": True},
    {"apicode": "T_CLEAR_DEVICE_PERSON"},
)
"""What terminals are told to do, one after the other, so that tasks are seen at work: pushed, and by heartbeat."""


class FleetRun:
    """One run of the simulated terminals against a running platform."""

    def __init__(self, platform: Platform, terminals: int, console: Console, began: float) -> None:
        self._platform = platform
        self._console = console
        self._began = began
        self._progress = Progress(terminals)
        self._first_stored_said = False
        self._last_report: dict[str, Any] | None = None
        self._sampled_at = 0.0

    def run(self, stop: StopRequest, seconds: float | None) -> None:
        """Returns when somebody asks to stop, or after `seconds`. Raises StackError where the terminals ended."""
        access = vendor_access(self._platform)
        fleet = self._start_fleet(access)
        started = time.monotonic()
        story = self._start_story()
        try:
            with Live(console=self._console, auto_refresh=False, transient=True) as live:
                next_line = started
                next_task = started + FIRST_TASK_SECONDS
                while not stop.made and (seconds is None or time.monotonic() - started < seconds):
                    self._platform.tick()
                    if not fleet.alive:
                        raise fleet.failed(f"ended with exit code {fleet.exit_code}")
                    if self._sample(fleet) and self._console.is_terminal:
                        live.update(self._table(), refresh=True)
                    if not self._console.is_terminal and time.monotonic() >= next_line:
                        next_line += PLAIN_LINE_SECONDS
                        self._say(self._progress.line())
                    if time.monotonic() >= next_task:
                        next_task += TASK_SECONDS
                        self._make_task()
                    time.sleep(TICK_SECONDS)
        finally:
            story.stop()
            fleet.stop(FLEET_GRACE_SECONDS)
        ran = time.monotonic() - started
        self._wait_until_stored(fleet)
        self._sum_up(ran)

    def _make_task(self) -> None:
        """Has one terminal do something, by the operators' API; from the last one on, since the first are a site's."""
        made, terminals = self._progress.tasks_made, self._progress.terminals
        wish = {**TASK_WISHES[made % len(TASK_WISHES)], "sn": _sn(terminals - made % terminals)}
        addresses = self._platform.addresses
        try:
            post_json(f"{addresses.console}/api/v1/tasks", wish, token=addresses.admin_token, timeout_seconds=1.0)
        except RequestFailed:
            return  # it is being started again, or the terminal has not registered itself yet
        self._progress.tasks_made += 1

    def _start_story(self) -> SiteStory:
        addresses = self._platform.addresses
        sns = [_sn(number) for number in range(1, self._progress.terminals + 1)]
        story = SiteStory(addresses.console, addresses.admin_token, sns)
        self._progress.story = story.told
        story.start()
        return story

    def _start_fleet(self, access: VendorAccess) -> Process:
        arguments = ["--tcp", self._platform.addresses.tcp, "--terminals", str(self._progress.terminals)]
        arguments += ["--https", self._platform.addresses.https, "--ca", str(self._platform.addresses.ca)]
        arguments += ["--access-id", access.access_id, "--access-key", access.access_key, "--report-json-lines"]
        arguments += ["--straying-terminals", STRAYING_SHARE]
        # Not on the command line, where every user of the machine could read it.
        secret = {"TERMINAL_SIMULATOR_ACCESS_SECRET": access.access_secret}
        return self._platform.start_terminals("terminals", arguments, secret)

    def _sample(self, fleet: Process) -> bool:
        """Looks at the simulator's report and the writer's count together, or their difference would show only how
        old the report is; False where there is no new report and the last look is not old."""
        now = time.monotonic()
        report = last_report(log_end(fleet.log_file))
        if report == self._last_report and now - self._sampled_at < SAMPLE_SECONDS:
            return False
        self._sampled_at = now
        if report is not None and report != self._last_report:
            self._progress.take_report(now, report)
        self._last_report = report
        for url in self._platform.admin_urls("attendance-writer"):
            try:
                exposition = get(f"{url}/metrics", timeout_seconds=0.5)
            except RequestFailed:
                # It is being started again, or stands still.
                self._progress.writer_lag = None
                continue
            stored = metric_total(exposition, "attendance_writer_stored_total")
            lag = metric_total(exposition, "attendance_writer_lag_records")
            if stored is not None and lag is not None:
                self._progress.take_writer(stored, int(lag))
        if self._progress.stored and not self._first_stored_said:
            self._first_stored_said = True
            self._say(f"[{time.monotonic() - self._began:5.1f} s] the first sign-in is stored")
        return True

    def _wait_until_stored(self, fleet: Process) -> None:
        deadline = time.monotonic() + CATCH_UP_SECONDS
        while time.monotonic() < deadline:
            if self._sample(fleet) and not self._progress.waiting:
                break
            self._platform.tick()
            time.sleep(TICK_SECONDS)

    def _sum_up(self, ran_seconds: float) -> None:
        self._say(f"the run took {ran_seconds:.0f} s; services started again: {self._platform.restarts}")
        for name, value in self._progress.totals():
            self._say(f"  {name:<14} {value}")

    def _table(self) -> Table:
        table = Table(show_header=False, title="simulated terminals", title_justify="left")
        for name, value in self._progress.rows():
            table.add_row(name, value)
        table.add_row("console", self._platform.addresses.console)
        table.caption = "Ctrl-C ends everything"
        return table

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _sn(number: int) -> str:
    return f"SIM{number:05d}"


def log_end(log_file: Path) -> str:
    """The last block of a log file."""
    with log_file.open("rb") as log:
        size = log.seek(0, os.SEEK_END)
        log.seek(max(0, size - LOG_BLOCK_BYTES))
        return log.read().decode("utf-8", errors="replace")


def vendor_access(platform: Platform) -> VendorAccess:
    """The terminals' credentials: those of an earlier run where the platform still knows them, else a new vendor's."""
    console, token = platform.addresses.console, platform.addresses.admin_token
    kept = platform.secrets.vendor
    try:
        if kept is not None and kept.access_id in get(f"{console}/api/v1/vendors?limit=200", token=token):
            return kept
        made = post_json(f"{console}/api/v1/vendors", {"name": "simulated terminals"}, token=token)
    except RequestFailed as error:
        raise StackError(f"no vendor for the simulated terminals: {error}") from error
    access = VendorAccess(made["accessId"], made["accessKey"], made["accessSecret"])
    platform.secrets = keep_vendor(platform.directory.secrets_file, platform.secrets, access)
    return access
