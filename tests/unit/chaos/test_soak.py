"""What grows in a soak is found: memory, descriptors, tasks, latency; what only warms up is not."""

from collections.abc import Callable

import pytest

from tests.chaos.reckoning import Reckoning
from tests.chaos.soak import Sample, compare

MIB = 1024 * 1024
SECONDS = 600.0


def samples(
    memory: Callable[[float], float] = lambda _: 100.0,
    descriptors: Callable[[float], float] = lambda _: 40,
    tasks: Callable[[float], float] = lambda _: 20,
    latency: Callable[[float], float] = lambda _: 30.0,
) -> list[Sample]:
    """One each ten seconds; memory in MiB."""
    return [
        Sample(
            at,
            {"session-1": int(memory(at) * MIB), "kafka-1": int((300 + at) * MIB)},
            {"session-1": int(descriptors(at))},
            {"session-1": int(tasks(at))},
            latency(at),
        )
        for at in (10.0 * number for number in range(1, 61))
    ]


def faults(taken: list[Sample]) -> list[str]:
    result = Reckoning()
    compare(result, taken, SECONDS, patience=1.0)
    return result.faults


def test_what_stays_as_it_is_and_what_only_warms_up_is_flat() -> None:
    assert faults(samples()) == []
    assert faults(samples(memory=lambda at: 50 + min(at, 100))) == []


@pytest.mark.parametrize(
    ("grown", "told"),
    [
        (samples(memory=lambda at: 100 + at / 10), "session-1 grew from"),
        (samples(descriptors=lambda at: 40 + at / 10), "session-1: descriptors grew from"),
        (samples(tasks=lambda at: 20 + at / 10), "session-1: tasks grew from"),
        (samples(latency=lambda at: 30 + at), "latency grew from"),
    ],
)
def test_what_grows_is_told(grown: list[Sample], told: str) -> None:
    (fault,) = faults(grown)
    assert fault.startswith(told)


def test_a_soak_that_was_too_short_proves_nothing() -> None:
    assert faults(samples()[:3]) == ["too short to compare"]
