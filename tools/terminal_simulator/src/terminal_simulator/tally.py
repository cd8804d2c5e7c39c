"""What the whole fleet counts; one object that every terminal adds to."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Cumulative counts, and the latencies since they were last taken."""

    online: int = 0
    """Terminals that are connected and hold a token, now."""
    buffered: int = 0
    """Sign-ins that wait to be sent (again), now."""
    authentications: int = 0
    heartbeats: int = 0
    """Heartbeats that were answered with success."""
    sign_ins_sent: int = 0
    """Sign-ins sent at least once."""
    resent: int = 0
    acknowledged: int = 0
    refused: int = 0
    """Sign-ins that the platform will never take: 400_01, 400_02, or a signature refused again and again."""
    unanswered: int = 0
    """Sign-ins sent whose answer never came; they are sent again."""
    dropped: int = 0
    """Sign-ins that found the offline buffer full."""
    reconnects: int = 0
    """Connections lost after they had been made."""
    tasks: int = 0
    """Task ids announced by heartbeats."""
    commands: int = 0
    """Commands pushed by the platform."""
    tasks_fetched: int = 0
    tasks_reported: Counter[str] = field(default_factory=Counter)
    """Reports of tasks that the platform took, by outcome: done, failed, unsupported."""
    persons_taken: int = 0
    """Persons loaded or brought up to date."""
    persons_failed: int = 0
    faces_taken: int = 0
    """Faces downloaded; one that a terminal has already is not downloaded again."""
    faces_failed: int = 0
    persons_deleted: int = 0
    rosters_reported: int = 0
    packages_installed: int = 0
    strayed: int = 0
    """Terminals that hold something else than they were sent."""
    answers_lost: int = 0
    """Answers over HTTPS that were thrown away on purpose."""
    wrong_signatures: int = 0
    """Answers over HTTPS whose signature was wrong."""
    errors: Counter[str] = field(default_factory=Counter)
    """Answers by errorcode, of every kind of request."""
    latencies_ms: list[float] = field(default_factory=list)
    last_fault: str = ""
    """The last thing that went wrong on a connection, in words."""
