"""What /metrics shows of the counts that the hot path keeps as plain integers."""

from prometheus_client import generate_latest

from tcp_ingress.metrics import IngressMetrics


def test_answers_are_shown_by_interface_and_outcome() -> None:
    metrics = IngressMetrics()
    metrics.answered("C_HEARTBEAT", "success")
    metrics.answered("C_HEARTBEAT", "success")
    metrics.answered("T_GET_TASKS", "400_01")
    text = generate_latest(metrics.process.registry).decode()
    assert 'tcp_ingress_answers_total{apicode="C_HEARTBEAT",outcome="success"} 2.0' in text
    assert 'tcp_ingress_answers_total{apicode="other",outcome="400_01"} 1.0' in text


def test_latency_is_a_histogram_whose_buckets_add_up() -> None:
    metrics = IngressMetrics()
    for seconds in (0.0005, 0.001, 0.004, 9.0):
        metrics.latency.record("C_SIGN_IN", seconds)
    text = generate_latest(metrics.process.registry).decode()
    assert 'tcp_ingress_answer_seconds_bucket{apicode="C_SIGN_IN",le="0.001"} 2.0' in text
    assert 'tcp_ingress_answer_seconds_bucket{apicode="C_SIGN_IN",le="0.005"} 3.0' in text
    assert 'tcp_ingress_answer_seconds_bucket{apicode="C_SIGN_IN",le="+Inf"} 4.0' in text
    assert 'tcp_ingress_answer_seconds_count{apicode="C_SIGN_IN"} 4.0' in text
    assert 'tcp_ingress_answer_seconds_sum{apicode="C_SIGN_IN"} 9.0055' in text
