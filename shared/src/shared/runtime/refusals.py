"""Refusals of device requests by the vendor of the device, as every service that answers devices counts them."""

from typing import Final

from shared.protocol.errors import ErrorCode
from shared.runtime.metrics import ProcessMetrics

UNKNOWN_VENDOR: Final = "unknown"
OTHER_VENDOR: Final = "other"
MAX_VENDORS: Final = 1_000
"""Vendors that a process tells apart; the label's values are bounded (design rule 7)."""


class VendorLabels:
    """The values of a metric's `vendor`: ids that operators' entries were given, never what a terminal sends."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def of(self, vendor_id: str | None) -> str:
        """The vendor's label; the same each time."""
        if vendor_id is None:
            return UNKNOWN_VENDOR
        if vendor_id not in self._seen:
            if len(self._seen) >= MAX_VENDORS:
                return OTHER_VENDOR
            self._seen.add(vendor_id)
        return vendor_id


class Refusals:
    """Answers that were no success. They stand beside the counts by outcome, so that a success costs nothing more."""

    def __init__(self, process: ProcessMetrics, name: str) -> None:
        self._vendors = VendorLabels()
        self._counts = {(UNKNOWN_VENDOR, code.code): 0 for code in ErrorCode}
        process.counter_by(name, ("vendor", "outcome"), "Refusals by the device's vendor and code", self._counts)

    def add(self, vendor_id: str | None, outcome: str) -> None:
        """Counts one; `vendor_id` is None where it is not known, `outcome` the error code."""
        key = self._vendors.of(vendor_id), outcome
        self._counts[key] = self._counts.get(key, 0) + 1
