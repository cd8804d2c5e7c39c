"""Refusals by vendor: labels are bounded, and what is not known or past the bound has a name of its own."""

import pytest
from prometheus_client import generate_latest

from shared.runtime.metrics import ProcessMetrics
from shared.runtime.refusals import MAX_VENDORS, Refusals, VendorLabels

CODES = ["400_01", "400_02", "400_04", "400_05", "401_01", "401_02", "500_01"]
"""Of section 1.3."""


def shown(process: ProcessMetrics) -> dict[str, str]:
    lines = generate_latest(process.registry).decode().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if line.startswith("test_refusals_total"))


def test_every_code_of_an_unknown_vendor_is_there_from_the_start_and_a_vendors_from_its_first() -> None:
    process = ProcessMetrics("test-service")
    refusals = Refusals(process, "test_refusals")
    unknown = {f'test_refusals_total{{outcome="{code}",vendor="unknown"}}': "0.0" for code in CODES}
    assert shown(process) == unknown
    refusals.add("v1", "400_04")
    refusals.add("v1", "400_04")
    refusals.add(None, "401_01")
    assert shown(process) == unknown | {
        'test_refusals_total{outcome="400_04",vendor="v1"}': "2.0",
        'test_refusals_total{outcome="401_01",vendor="unknown"}': "1.0",
    }
    process.close()


def test_design_7_vendors_past_the_bound_are_counted_as_other_and_those_before_it_as_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert MAX_VENDORS == 1_000
    monkeypatch.setattr("shared.runtime.refusals.MAX_VENDORS", 2)
    labels = VendorLabels()
    assert [labels.of(vendor) for vendor in ("v1", "v2", "v3", "v4", "v2", None)] == [
        "v1",
        "v2",
        "other",
        "other",
        "v2",
        "unknown",
    ]
