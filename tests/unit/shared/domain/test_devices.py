"""What an operator's change makes of a device: design rules 5, 11, 14."""

import msgspec
import pytest

from shared.domain.devices import Device, DeviceChange, Direction, SiteSpan, assigned, changed, site_at

IN, OUT, BOTH = Direction.IN, Direction.OUT, Direction.BOTH


def device(**members: object) -> Device:
    return Device(sn="SN1", vendor_id="v1", registered_at_ms=1, **members)  # type: ignore[arg-type]  # the test's own


def test_rule_11_the_first_site_counts_for_the_time_before_and_the_next_one_from_then_on() -> None:
    first = assigned((), "s1", IN, 1000)
    assert first == (SiteSpan(0, "s1", IN),)
    assert assigned(first, "s2", OUT, 2000) == (SiteSpan(0, "s1", IN), SiteSpan(2000, "s2", OUT))


def test_rule_11_a_first_site_after_a_first_direction_counts_for_the_time_before_and_the_other_way_round() -> None:
    assert assigned(assigned((), None, IN, 1000), "s1", IN, 2000) == (SiteSpan(0, "s1", IN),)
    assert assigned(assigned((), "s1", None, 1000), "s1", OUT, 2000) == (SiteSpan(0, "s1", OUT),)


def test_rule_11_a_time_without_a_site_between_two_sites_stays_without() -> None:
    history = assigned(assigned(assigned((), "s1", IN, 1000), None, IN, 2000), "s2", IN, 3000)
    assert [site_at(history, at)[0] for at in (0, 1999, 2000, 2999, 3000)] == ["s1", "s1", None, None, "s2"]


def test_rule_11_a_first_direction_keeps_the_sites_of_before() -> None:
    history = assigned(assigned(assigned((), "s1", None, 1000), "s2", None, 2000), "s2", OUT, 3000)
    assert history == (SiteSpan(0, "s1", OUT), SiteSpan(2000, "s2", OUT))


def test_the_same_place_again_adds_no_span() -> None:
    history = assigned((), "s1", BOTH, 1000)
    assert assigned(history, "s1", BOTH, 2000) == history


def test_what_a_change_leaves_out_stays_and_null_clears() -> None:
    before = device(name="Gate", time_window_seconds=900, site_history=(SiteSpan(0, "s1", IN),))
    assert changed(before, DeviceChange(direction=OUT), 5000) == device(
        name="Gate",
        time_window_seconds=900,
        site_history=(SiteSpan(0, "s1", IN), SiteSpan(5000, "s1", OUT)),
        changed_at_ms=5000,
    )
    cleared = changed(before, DeviceChange(name=None, time_window_seconds=None, site_id=None, direction=None), 5000)
    assert cleared == device(site_history=(SiteSpan(0, "s1", IN), SiteSpan(5000, None, None)), changed_at_ms=5000)


def test_rule_5_the_time_of_disabling_stays_when_the_device_is_enabled_and_rises_with_each_disabling() -> None:
    disabled = changed(device(), DeviceChange(disabled=True), 5000)
    assert (disabled.disabled, disabled.disabled_at_ms) == (True, 5000)
    again = changed(disabled, DeviceChange(disabled=True), 6000)
    assert (again.disabled, again.disabled_at_ms) == (True, 5000)
    enabled = changed(again, DeviceChange(disabled=False), 7000)
    assert (enabled.disabled, enabled.disabled_at_ms) == (False, 5000)
    # A clock that went back, or another process's that is late, must not make the second disabling the earlier one
    assert changed(enabled, DeviceChange(disabled=True), 100).disabled_at_ms == 7001


def test_changes_are_in_order_whatever_the_clock_says() -> None:
    first = changed(device(), DeviceChange(name="a"), 5000)
    assert changed(first, DeviceChange(name="b"), 4000).changed_at_ms == 5001


@pytest.mark.parametrize(
    ("body", "change"),
    [
        (b"{}", DeviceChange()),
        (b'{"siteId":null,"direction":"in"}', DeviceChange(site_id=None, direction=IN)),
        (b'{"disabled":true,"timeWindowSeconds":null}', DeviceChange(disabled=True, time_window_seconds=None)),
    ],
)
def test_a_change_as_json_tells_left_out_from_null(body: bytes, change: DeviceChange) -> None:
    assert msgspec.json.decode(body, type=DeviceChange) == change
    assert msgspec.json.decode(msgspec.json.encode(change)) == msgspec.json.decode(body)
