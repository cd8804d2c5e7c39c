"""What the hot path counts: plain integers that are read when they are scraped (measured). What the parts of this
service count themselves is in part_metrics.py; nothing of this service is imported here."""

from shared.protocol.apicodes import TCP_APICODES
from shared.protocol.errors import ErrorCode
from shared.runtime.metrics import ProcessMetrics
from shared.runtime.refusals import Refusals

LATENCY_BOUNDS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
OTHER_APICODE = "other"
"""The label of what is no interface of this channel: label values never come from a terminal."""
TCP_LABELS = sorted(code.value for code in TCP_APICODES)
SUCCESS = "success"


class IngressMetrics:
    """The counts of one process."""

    def __init__(self) -> None:
        self.process = ProcessMetrics("tcp-ingress")
        self.latency = self.process.histogram_by(
            "tcp_ingress_answer_seconds",
            "apicode",
            "Time from receipt to answer, of what had to wait",
            LATENCY_BOUNDS_SECONDS,
            TCP_LABELS,
        )
        # requests by apicode and outcome: success, or the error code of section 1.3
        outcomes = SUCCESS, *(code.code for code in ErrorCode)
        self._answers = {(apicode, outcome): 0 for apicode in (*TCP_LABELS, OTHER_APICODE) for outcome in outcomes}
        self.process.counter_by(
            "tcp_ingress_answers", ("apicode", "outcome"), "Answers by interface and outcome", self._answers
        )
        self.refusals = Refusals(self.process, "tcp_ingress_refusals")
        self.shortened = 0
        self.process.counter(
            "tcp_ingress_shortened_sign_ins",
            "Sign-ins stored without their texts, which were too large",
            lambda: self.shortened,
        )
        # connections refused at a bound, and those that were closed by us, by reason
        self.refused = dict.fromkeys(("total", "address", "proxy_header"), 0)
        self.process.counter_by("tcp_ingress_refused_connections", "bound", "Connections refused", self.refused)
        self.closed = dict.fromkeys(("fault", "half_frame", "idle", "unauthenticated", "unread", "age", "drain"), 0)
        self.process.counter_by("tcp_ingress_closed_connections", "reason", "Connections closed by us", self.closed)

    def answered(self, apicode: str, outcome: str) -> None:
        """Counts an answer; `outcome` is SUCCESS or an error code."""
        self._answers[apicode if apicode in TCP_APICODES else OTHER_APICODE, outcome] += 1

    def count_of(self, apicode: str, outcome: str) -> int:
        """How many answers there were."""
        return self._answers.get((apicode, outcome), 0)
