"""aiokafka's record as ours."""

from aiokafka import ConsumerRecord

from shared.domain.events import ConsumedRecord
from shared.kafka.consumer import consumed


def test_a_record_is_taken_over_whole_and_a_header_without_a_value_is_empty() -> None:
    record = ConsumerRecord(
        topic="a.topic",
        partition=3,
        offset=41,
        timestamp=1_764_000_000_000,
        timestamp_type=0,
        key=b"key",
        value=b"value",
        checksum=None,
        serialized_key_size=3,
        serialized_value_size=5,
        headers=[("ce_id", b"1"), ("ce_type", None), ("ce_time", b"")],
    )
    headers = (("ce_id", b"1"), ("ce_type", b""), ("ce_time", b""))
    assert consumed(record) == ConsumedRecord("a.topic", 3, 41, b"key", b"value", headers, 1_764_000_000_000)
