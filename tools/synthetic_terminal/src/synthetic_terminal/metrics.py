"""Every metric of the synthetic terminal."""

from shared.runtime.metrics import ProcessMetrics

SUCCESS = "success"
UNANSWERED = "unanswered"
NOT_STORED = "not_stored"
REFUSED_CONNECTION = "refused_connection"
ERROR_CODES = ("400_01", "400_02", "400_04", "400_05", "401_01", "401_02", "500_01")
OUTCOMES = (SUCCESS, *ERROR_CODES, UNANSWERED, NOT_STORED, REFUSED_CONNECTION)

ANSWER_BOUNDS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
STORED_BOUNDS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0)


class SyntheticTerminalMetrics:
    """The counts of one terminal; every outcome is there from the start, so that none begins with a step unseen."""

    def __init__(self) -> None:
        self.process = ProcessMetrics("synthetic-terminal")
        self.outcomes = dict.fromkeys(OUTCOMES, 0)
        self.process.counter_by(
            "synthetic_terminal_sign_ins_total", "outcome", "Sign-ins by what became of them", self.outcomes
        )
        self.last_success_seconds = 0.0
        self.process.gauge(
            "synthetic_terminal_last_success_timestamp_seconds",
            "When a sign-in was last found stored; 0 before the first",
            lambda: self.last_success_seconds,
        )
        self.answer_seconds = self.process.meter.create_histogram(
            "synthetic_terminal_answer_seconds",
            description="Time from a sign-in's frame to its answer",
            explicit_bucket_boundaries_advisory=ANSWER_BOUNDS_SECONDS,
        )
        self.stored_seconds = self.process.meter.create_histogram(
            "synthetic_terminal_stored_seconds",
            description="Time from a sign-in's frame until the console shows it",
            explicit_bucket_boundaries_advisory=STORED_BOUNDS_SECONDS,
        )
