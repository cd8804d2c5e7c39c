"""What `make run` shows of a run: counts of the simulated terminals and of the writer, rates and lag. Nothing is
printed here."""

import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from stack.site_story import Told

LOG_BLOCK_BYTES = 16_384
RATE_SECONDS = 5.0


def last_report(log_text: str) -> dict[str, Any] | None:
    """The newest of the simulator's JSON lines; None where there is none yet. Other lines are its logs."""
    # The last line may be half written.
    for line in reversed(log_text.rpartition("\n")[0].splitlines()):
        if line.startswith("{"):
            try:
                report = json.loads(line)
            except ValueError:
                continue
            if isinstance(report, dict) and "signInsSent" in report:
                return report
    return None


@dataclass
class Progress:
    """The run as of the last sample."""

    terminals: int
    online: int = 0
    heartbeats: int = 0
    sent: int = 0
    acknowledged: int = 0
    refused: int = 0
    unanswered: int = 0
    stored: int = 0
    """As counted: what a writer stored between the last look at it and its death is missing."""
    tasks_made: int = 0
    tasks_pushed: int = 0
    tasks_fetched: int = 0
    tasks_reported: int = 0
    persons_taken: int = 0
    faces_taken: int = 0
    failed: int = 0
    """Persons and faces that terminals could not take."""
    persons_deleted: int = 0
    rosters_reported: int = 0
    packages_installed: int = 0
    wrong_signatures: int = 0
    story: Told = field(default_factory=Told)
    writer_was_restarted: bool = False
    writer_lag: int | None = None
    """Records that the writer has not committed; None while it does not answer."""
    latency_ms: tuple[float, float] | None = None
    _stored_before: int = 0
    _stored_last: int = 0
    _samples: deque[tuple[float, int, int]] = field(default_factory=deque)

    def take_report(self, now: float, report: dict[str, Any]) -> None:
        """Takes over one report of the simulator."""
        self.online = report["online"]
        self.heartbeats = report["heartbeats"]
        self.sent = report["signInsSent"]
        self.acknowledged = report["acknowledged"]
        self.refused = report["refused"]
        self.unanswered = report["unanswered"]
        self.tasks_pushed = report["commands"]
        self.tasks_fetched = report["tasksFetched"]
        self.tasks_reported = sum(report["tasksReported"].values())
        self.persons_taken = report["personsTaken"]
        self.faces_taken = report["facesTaken"]
        self.failed = report["personsFailed"] + report["facesFailed"]
        self.persons_deleted = report["personsDeleted"]
        self.rosters_reported = report["rostersReported"]
        self.packages_installed = report["packagesInstalled"]
        self.wrong_signatures = report["wrongSignatures"]
        p50, p99 = report["latencyMsP50"], report["latencyMsP99"]
        if p50 is not None and p99 is not None:
            self.latency_ms = (p50, p99)
        self._samples.append((now, self.heartbeats, self.sent))
        while now - self._samples[0][0] > RATE_SECONDS:
            self._samples.popleft()

    def take_writer(self, stored: float, lag: int) -> None:
        """Takes over the writer's count, which begins at 0 again when it is started again, and its lag."""
        if stored < self._stored_last:
            self._stored_before += self._stored_last
            self.writer_was_restarted = True
        self._stored_last = int(stored)
        self.stored = self._stored_before + self._stored_last
        self.writer_lag = lag

    @property
    def waiting(self) -> int:
        """Acknowledged and not stored yet; never below 0, though the two are not counted at the same moment."""
        uncounted = max(0, self.acknowledged - self.stored)
        # A writer that was started again has no partitions, so no lag, until the group knows that the old one is dead.
        if self.writer_was_restarted and self._stored_last and self.writer_lag is not None:
            return min(uncounted, self.writer_lag)
        return uncounted

    @property
    def heartbeats_per_second(self) -> float:
        """Over the last seconds."""
        return self._rate(1)

    @property
    def sign_ins_per_second(self) -> float:
        """Sent, over the last seconds."""
        return self._rate(2)

    def rows(self) -> list[tuple[str, str]]:
        """Name and value of what is shown."""
        latency = (
            "-" if self.latency_ms is None else f"p50 {self.latency_ms[0]:.0f} ms, p99 {self.latency_ms[1]:.0f} ms"
        )
        broker_lag = "" if self.writer_lag is None else f" (records not consumed: {self.writer_lag})"
        return [
            ("terminals online", f"{self.online} of {self.terminals}"),
            ("heartbeats", f"{self.heartbeats} ({self.heartbeats_per_second:.1f}/s)"),
            ("sign-ins sent", f"{self.sent} ({self.sign_ins_per_second:.1f}/s)"),
            ("acknowledged", f"{self.acknowledged} (refused {self.refused}, unanswered {self.unanswered})"),
            ("stored", str(self.stored)),
            ("lag", f"{self.waiting}{broker_lag}"),
            ("answer time", latency),
            ("tasks", self._tasks()),
            *self._site(),
            ("site story", self.story.step),
        ]

    def totals(self) -> list[tuple[str, str]]:
        """Name and value of what is left to say when the run is over."""
        return [
            ("heartbeats", str(self.heartbeats)),
            ("sign-ins sent", str(self.sent)),
            ("acknowledged", f"{self.acknowledged} (refused {self.refused}, unanswered {self.unanswered})"),
            (
                "stored",
                f"{self.stored} or more: the writer was restarted" if self.writer_was_restarted else str(self.stored),
            ),
            ("not yet stored", str(self.waiting)),
            ("tasks", self._tasks()),
            *self._site(),
        ]

    def line(self) -> str:
        """The same on one line."""
        return " · ".join(f"{name} {value}" for name, value in self.rows())

    def _tasks(self) -> str:
        return (
            f"{self.tasks_made} made, {self.tasks_pushed} pushed, {self.tasks_fetched} fetched, "
            f"{self.tasks_reported} reported"
        )

    def _site(self) -> list[tuple[str, str]]:
        story = self.story
        found = "" if story.differences is None else f", {story.differences} differences found and made good"
        wrong = f"; wrong signatures {self.wrong_signatures}" if self.wrong_signatures else ""
        return [
            (
                "workers",
                f"{story.workers} with faces at {story.terminals} terminals: {self.persons_taken} loaded, "
                f"{self.faces_taken} faces, {self.failed} failed, {self.persons_deleted} deleted{wrong}",
            ),
            ("rosters", f"{self.rosters_reported} reported{found}"),
            ("firmware", f"{self.packages_installed} installed"),
        ]

    def _rate(self, column: int) -> float:
        if len(self._samples) < 2:
            return 0.0
        first, last = self._samples[0], self._samples[-1]
        return (last[column] - first[column]) / (last[0] - first[0])
