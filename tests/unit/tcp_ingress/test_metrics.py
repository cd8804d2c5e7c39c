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


def test_every_series_of_fixed_labels_is_there_before_its_first_event() -> None:
    text = generate_latest(IngressMetrics().process.registry).decode()
    for apicode in ("C_AUTH", "C_HEARTBEAT", "C_SIGN_IN", "other"):
        for outcome in ("success", "400_01", "400_02", "400_04", "400_05", "401_01", "401_02", "500_01"):
            assert f'tcp_ingress_answers_total{{apicode="{apicode}",outcome="{outcome}"}} 0.0' in text
    assert 'tcp_ingress_answer_seconds_bucket{apicode="C_SIGN_IN",le="+Inf"} 0.0' in text
