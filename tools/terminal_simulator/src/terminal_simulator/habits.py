"""How the terminals of a fleet behave: what the command line chooses and no terminal changes."""

from dataclasses import dataclass, field
from enum import StrEnum

from terminal_simulator.signing import ParamStyle, SignForm


class Layout(StrEnum):
    """C_AUTH as the table of 2.1.2 has it, or with accessSecret in sixth place as 2.1.4 prints it."""

    EIGHT = "eight"
    NINE = "nine"


@dataclass(frozen=True, slots=True)
class Account:
    """What the platform's operators gave to the maker of the terminals (section 1.1)."""

    access_id: str
    access_key: str = field(repr=False)
    access_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Habits:
    """One fleet's behaviour."""

    heartbeat_seconds: float = 60.0
    sign_ins_per_minute: float = 6.0
    picture_share: float = 0.8
    picture_bytes: int = 0
    """0: as small as the picture is."""
    persons: int = 200
    layout: Layout = Layout.EIGHT
    style: ParamStyle = ParamStyle.STRICT
    form: SignForm = SignForm.AS_SENT
    buffer_size: int = 5000
    """Sign-ins kept while they cannot be sent; when it is full the newest is dropped."""
    failed_share: float = 0.05
    """Share of tasks that fail, half-way."""
    unsupported_share: float = 0.02
    """Share of tasks that the terminal says it cannot do."""
    failed_persons_share: float = 0.01
    """Share of workers whom it has no room for."""
    failed_faces_share: float = 0.02
    """Share of pictures in which it finds no face."""
    straying_share: float = 0.1
    """Share of terminals that hold something else than they were sent, from their first report of it on."""
    lost_share: float = 0.01
    """Share of answers over HTTPS that get lost on their way."""
    page_size: int = 50
    """Workers on a page, of those that it loads and those that it reports."""
    clock_off_hours: float = 0.0
    """Clocks are off by up to so much, either way, until the platform tells them the time."""
    answer_seconds: float = 15.0
    """A request unanswered for so long ends the connection."""
