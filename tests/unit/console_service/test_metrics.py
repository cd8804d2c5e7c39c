from prometheus_client import generate_latest

from tests.unit.console_service.parts import Parts


async def test_requests_are_counted_by_route_and_status_and_never_by_a_serial_number() -> None:
    parts = Parts()
    for sn in ("SN1", "SN2"):
        await parts.ask("GET", f"/devices/{sn}")
    await parts.ask("GET", "/devices/SN1", token=None)
    text = generate_latest(parts.metrics.process.registry).decode()
    counts = [line for line in text.splitlines() if line.startswith("http_server_request_duration_seconds_count")]
    assert len(counts) == 2
    for status, count in (("404", "2.0"), ("401", "1.0")):
        (line,) = [line for line in counts if f'http_response_status_code="{status}"' in line]
        assert 'http_route="/api/v1/devices/{sn}"' in line
        assert line.endswith(count)
    assert "SN1" not in text


def test_audit_entries_without_outcome_are_counted() -> None:
    parts = Parts()
    parts.metrics.audit_unfinished = 3
    assert "console_audit_unfinished_total 3.0" in generate_latest(parts.metrics.process.registry).decode()
