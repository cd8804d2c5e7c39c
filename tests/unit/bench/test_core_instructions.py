"""What callgrind counts: requests that are answered with success, by the ingress's own code."""

import shutil

import pytest

from tests.bench.core_instructions import COUNTS, _collected, answer, check, instructions, reads


@pytest.mark.parametrize("kind", COUNTS)
async def test_each_request_that_is_counted_is_answered_with_success(kind: str) -> None:
    transport = await answer(reads(kind, 32))
    check(transport.written, 32)


@pytest.mark.parametrize("kind", COUNTS)
async def test_a_request_that_is_refused_is_not_counted(kind: str) -> None:
    wrong = [one.replace(b"v1.0.0", b"v1.0.1") for one in reads(kind, 16)]  # the version is signed (S2)
    transport = await answer(wrong)
    with pytest.raises(SystemExit, match="refused"):
        check(transport.written, 16)


async def test_an_answer_that_is_missing_is_seen() -> None:
    transport = await answer(reads("heartbeat", 16))
    with pytest.raises(SystemExit, match="refused"):
        check(transport.written, 17)


def test_the_same_bytes_are_read_in_every_run() -> None:
    for kind in COUNTS:
        assert reads(kind, 16) == reads(kind, 16)


def test_without_valgrind_nothing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert instructions() is None


def test_the_count_is_what_callgrind_collected() -> None:
    assert _collected("==9173== Events    : Ir\n==9173== Collected : 2291751717\n==9173==") == 2_291_751_717
    with pytest.raises(SystemExit, match="says no count"):
        _collected("==9173== killed")
