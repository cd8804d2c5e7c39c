"""Which faults there are: none of what the issue names may get lost, and the same seed draws the same pairs."""

import pytest

from tests.chaos.catalogue import named, pairs, singles, smoke

PROCESSES = [
    f"{name}-{copy}"
    for name in ("tcp-ingress", "session", "task-api", "console", "attendance-writer")
    for copy in (1, 2)
]  # fmt: skip
PARTS = ["kafka-1", "kafka-2", "kafka-3", "redis", "mongo"]
# shared/design.md, the table of clients and servers; and the terminals'.
LINKS = [
    "tcp-ingress to session", "tcp-ingress to redis", "tcp-ingress to kafka", "session to mongo", "session to redis",
    "session to kafka", "task-api to mongo", "task-api to redis", "task-api to kafka", "attendance-writer to kafka",
    "attendance-writer to mongo", "console to mongo", "console to redis", "console to session", "console to kafka",
    "terminals to tcp-ingress", "terminals to task-api", "operators to console",
]  # fmt: skip
NAMES = [fault.name for fault in singles()]


@pytest.mark.parametrize("name", [*PROCESSES, *PARTS])
def test_each_process_is_killed_and_made_to_hang(name: str) -> None:
    assert f"kill {name}" in NAMES
    assert f"hang {name}" in NAMES


@pytest.mark.parametrize("link", LINKS)
def test_every_two_parts_are_cut_off_and_made_slow(link: str) -> None:
    assert f"cut: {link}" in NAMES or f"silent: {link}" in NAMES
    assert f"slow and lossy: {link}" in NAMES


@pytest.mark.parametrize(
    "part",
    [
        "rolling restart", "leaders leave", "two of three brokers", "full disk of kafka", "full disk of mongo",
        "flush redis", "clocks off", "reconnect storm", "rebalances",
    ],
)  # fmt: skip
def test_each_other_fault_of_the_issue_is_there(part: str) -> None:
    assert any(part in name for name in NAMES)


def test_names_are_unique_and_part_of_one_chooses_it() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert [fault.name for fault in named(["flush"])] == ["flush redis"]
    assert [fault.name for fault in named(None)] == NAMES


def test_pairs_are_the_same_for_the_same_seed_and_never_undo_one_another() -> None:
    drawn = pairs(singles(), 50, seed=7)
    assert [fault.name for fault in drawn] == [fault.name for fault in pairs(singles(), 50, seed=7)]
    assert [fault.name for fault in drawn] != [fault.name for fault in pairs(singles(), 50, seed=8)]
    by_name = {fault.name: fault for fault in singles()}
    for pair in drawn:
        first, second = (by_name[name] for name in pair.name.split(" + "))
        assert not first.touches & second.touches
        assert pair.touches == first.touches | second.touches
        assert (pair.back, pair.stored) == (first.back + second.back, first.stored + second.stored)
        assert "everything" not in pair.touches


def test_the_smoke_is_a_handful_of_what_the_whole_run_does() -> None:
    names = [fault.name for fault in smoke()]
    assert set(names) <= set(NAMES)
    assert 5 <= len(names) <= 10
