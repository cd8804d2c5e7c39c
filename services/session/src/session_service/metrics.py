"""Every metric of the session service. Requests, by route and status, are counted by FastAPI's own telemetry."""

from collections.abc import Callable

from fastapi.telemetry import TelemetryConfig

from shared.protocol.errors import ErrorCode
from shared.runtime.metrics import Counts, ProcessMetrics
from shared.runtime.refusals import Refusals

ACCEPTED = "accepted"


class SessionMetrics:
    """The meters of one session process."""

    def __init__(self) -> None:
        self.process = ProcessMetrics("session")

        self.authentications = dict.fromkeys([ACCEPTED, *(code.code for code in ErrorCode)], 0)
        self.process.counter_by("session_authentications_total", "outcome", "C_AUTHs by outcome", self.authentications)
        self.refusals = Refusals(self.process, "session_refusals_total")
        # How well ingress gathers: a fleet's reconnect is to come in large groups (measured: HTTP is the cost).
        self.group_sizes = self.process.meter.create_histogram(
            "session_authentication_group_size",
            description="C_AUTHs that came in one group",
            explicit_bucket_boundaries_advisory=[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000],
        )
        # A group counts once, under the first server that failed it, or under the deadline.
        self.unavailable = {"mongo": 0, "redis": 0, "deadline": 0}
        self.process.counter_by(
            "session_unavailable_total", "reason", "Groups answered 500_01 and why", self.unavailable
        )
        self.throttled = 0
        self.process.counter(
            "session_throttled_total", "Failed C_AUTHs past the bound of their source", lambda: self.throttled
        )
        # Not zero: a sealing key is missing, or stored secrets were altered.
        self.unseal_errors = 0
        self.process.counter(
            "session_unseal_errors_total", "Credentials whose secret did not open", lambda: self.unseal_errors
        )
        self.reasserted = 0
        self.process.counter(
            "session_revocations_reasserted_total",
            "Revocations and disablings that Redis had lost or not got, told again",
            lambda: self.reasserted,
        )
        self.settled_devices = 0
        self.process.counter(
            "session_settled_devices_total", "Changes of devices carried out to their end", lambda: self.settled_devices
        )
        # In numbers: an ingress was killed, or could not reach Redis.
        self.swept = 0
        self.process.counter(
            "session_swept_devices_total", "Devices found off line that nobody had told of", lambda: self.swept
        )

    def observe_sites(self, read: Callable[[], Counts]) -> None:
        """Shows how many devices are online at each site."""
        self.process.gauge_by(
            "session_site_devices", ("site", "presence"), "Devices that are not disabled, by site", read
        )

    @property
    def of_requests(self) -> TelemetryConfig:
        """http.server.request.duration and http.server.active_requests, by route, method and status."""
        return {"meter_provider": self.process.provider, "tracing": False, "logs": False, "auto_configure": False}

    def close(self) -> None:
        """Ends the meters."""
        self.process.close()
