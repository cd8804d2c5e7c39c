import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console_service.live_positions import pack_positions, unpack_positions

TOPICS = ("a", "b", "c")

offsets = st.integers(min_value=0, max_value=2**63 - 1)
some_topics = st.dictionaries(st.sampled_from(TOPICS), st.lists(offsets, min_size=1, max_size=20))


@given(some_topics)
def test_every_position_comes_back_as_it_was(by_topic: dict[str, list[int]]) -> None:
    positions = {(topic, number): value for topic, values in by_topic.items() for number, value in enumerate(values)}
    assert unpack_positions(TOPICS, pack_positions(TOPICS, positions)) == positions


def test_the_form_is_version_then_topic_count_and_offsets_as_varints() -> None:
    packed = pack_positions(TOPICS, {("c", 1): 300, ("c", 0): 5})
    # 300 is 0b10_0101100: AC 02 in Base-128, least group first
    assert packed == base64.urlsafe_b64encode(bytes([1, 2, 2, 5, 0xAC, 0x02])).decode().rstrip("=")


def test_36_partitions_of_a_billion_records_take_less_than_300_characters() -> None:
    positions = {(topic, number): 1_000_000_000 + number for topic in TOPICS for number in range(12)}
    assert len(pack_positions(TOPICS, positions)) < 300


def text_of(*values: int) -> str:
    return base64.urlsafe_b64encode(bytes(values)).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "?",
        "é",
        "AQ=B",
        text_of(2, 0, 1, 5),  # another version
        text_of(1, 3, 1, 5),  # no such topic
        text_of(1, 0, 2, 5),  # a partition short
        text_of(1, 0, 0),  # no partitions
        text_of(1, 0, 1, 5, 0, 1, 5),  # a topic twice
        text_of(1, 0, 1, 0x80),  # half a number
        text_of(1, 0, 1, *[0xFF] * 9, 0x7F),  # more than 63 bits
        text_of(1, 0, 0xFF, 0xFF, 0x7F),  # two million partitions
    ],
)
def test_what_was_not_made_here_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        unpack_positions(TOPICS, text)


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_any_text_is_positions_or_a_value_error(text: str) -> None:
    try:
        positions = unpack_positions(TOPICS, text)
    except ValueError:
        return
    assert all(topic in TOPICS and 0 <= offset < 2**63 for (topic, _), offset in positions.items())
