"""Reading what Kafka's own producer-performance tool prints."""

import pytest

from tests.bench.broker_ceiling import records_per_second

# As the tool of Kafka 4.3.0 printed it, latencies left out.
PRINTED = """\
5001 records sent, 1000.2 records/sec (0.57 MB/sec), 12.0 ms avg latency, 80.0 ms max latency.
60000 records sent, 24213.1 records/sec (13.85 MB/sec), 30.00 ms avg latency, 300.00 ms max latency.
"""


def test_the_rate_of_the_last_line_counts() -> None:
    assert records_per_second(PRINTED) == 24213.1


def test_output_without_a_rate_is_a_fault() -> None:
    with pytest.raises(SystemExit, match="says no rate"):
        records_per_second("org.apache.kafka.common.errors.TimeoutException")
