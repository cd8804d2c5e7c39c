"""Settings that would serve nothing, or serve TLS without its files, are refused at the start."""

import pytest
from pydantic import ValidationError

from tcp_ingress.settings import IngressSettings


def settings(monkeypatch: pytest.MonkeyPatch, **values: str) -> IngressSettings:
    for name, value in {"SESSION_TOKEN": "secret-of-the-session-service", **values}.items():
        monkeypatch.setenv(f"TCP_INGRESS_{name}", value)
    return IngressSettings()


def test_the_defaults_are_those_of_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    made = settings(monkeypatch)
    assert (made.max_frame_bytes, made.max_unanswered) == (4 * 1024 * 1024, 64)  # F3, F6
    assert (made.half_frame_seconds, made.half_frame_bytes_per_second) == (30, 8192)  # F4
    assert (made.request_deadline_seconds, made.redis_grace_seconds) == (5, 60)  # E6, design rule 3
    assert made.max_connections_per_address == 1000  # design rule 7
    assert made.time_window_seconds == 600  # E3
    assert made.proxy_networks == []


def test_trusted_networks_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    made = settings(monkeypatch, PROXY_TRUSTED_NETWORKS="10.0.0.0/8, 2001:db8::/32,192.0.2.1")
    assert list(map(str, made.proxy_networks)) == ["10.0.0.0/8", "2001:db8::/32", "192.0.2.1/32"]


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"TLS_PORT": "7001"}, "TCP_INGRESS_TLS_CERT_FILE"),
        ({"TLS_PORT": "7001", "TLS_CERT_FILE": "cert.pem"}, "TCP_INGRESS_TLS_KEY_FILE"),
        ({"GRACE_SECONDS": "10"}, "answered within it"),  # the notice and the deadline are 5 each
        ({"PROXY_TRUSTED_NETWORKS": "10.0.0.0/8,10.1.1.1/24"}, "host bits set"),
        ({"PROXY_TRUSTED_NETWORKS": "lb.example"}, "IPv4 or IPv6 network"),
        ({"PORT": "0"}, "nothing would be served"),
        ({"MAX_UNANSWERED": "0"}, "greater than or equal to 1"),
        ({"MAX_FRAME_BYTES": "many"}, "valid integer"),
    ],
)
def test_what_cannot_work_is_refused_and_no_value_is_shown(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], what: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        settings(monkeypatch, **values)
    assert what in str(refused.value)
    assert "secret-of-the-session-service" not in str(refused.value)
