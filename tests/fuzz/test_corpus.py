"""Every committed input again, without a fuzzer: none is a finding, none takes much memory; and each target's check can
fail, with an input of its corpus."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shared.protocol.json_messages
import shared.protocol.messages
import shared.protocol.sign_in
import shared.protocol.signatures
import shared.protocol.verification
import task_api.byte_ranges
import tcp_ingress.proxy_protocol
from shared.domain.links import Links
from shared.protocol.frames import FrameDecoder
from tests.fuzz import byte_ranges, json_messages, params, proxy_protocol, signatures, targets, verification
from tests.fuzz.minimize import branches, minimize
from tests.fuzz.seeds import seeds_of
from tests.fuzz.targets import CORPUS, TARGETS, check_of, run_bounded

MEMORY_FLOOR, MEMORY_FACTOR = 1024 * 1024, 500
"""At most so many bytes, and so many for each byte of an input: what the references of the checks hold is in it."""


def inputs_of(target: str) -> list[Path]:
    return sorted((CORPUS / target).iterdir())


def test_every_target_has_a_corpus_and_no_other_is_there() -> None:
    assert sorted(folder.name for folder in CORPUS.iterdir()) == sorted(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_no_committed_input_is_a_finding_and_none_takes_much_memory(target: str) -> None:
    check = check_of(target)
    assert inputs_of(target) != []
    for file in inputs_of(target):
        data = file.read_bytes()
        run_bounded(check, data)
        tracemalloc.start()
        check(data)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MEMORY_FLOOR + MEMORY_FACTOR * len(data), (file.name, peak)


@pytest.mark.parametrize("target", TARGETS)
def test_no_seed_made_of_the_vectors_is_a_finding(target: str) -> None:
    seeds = seeds_of(target)
    assert seeds != []
    for seed in seeds:
        run_bounded(check_of(target), seed)


def test_what_takes_too_long_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "MAX_CPU_SECONDS", 0.001)
    with pytest.raises(AssertionError, match=r"[0-9.]+ s for 6 bytes"):
        run_bounded(slowly, b"slowly")


def slowly(data: bytes) -> None:
    assert len(sorted(data * 100_000)) == 600_000


# ── each check can fail ───────────────────────────────────────────────────────────────────────────────────────────


def always(value: Any) -> Callable[..., Any]:
    return lambda *_arguments, **_options: value


def one_byte_short(decoder: FrameDecoder, data: bytes, real: Any = FrameDecoder.feed) -> list[bytes]:
    return [frame[:-1] for frame in real(decoder, data)]


PLANTED: dict[str, tuple[Any, str, Any]] = {
    "frames": (FrameDecoder, "feed", one_byte_short),
    "messages": (shared.protocol.messages, "DEFAULT_VERSION", "v2"),
    "params": (params, "compact", lambda text, **_options: text),
    "sign_in": (shared.protocol.sign_in, "_MAX_AHEAD_MS", 10**18),
    "signatures": (shared.protocol.signatures, "signs_equal", always(True)),
    "verification": (shared.protocol.verification, "request_sign_form", always("as-sent")),
    "json_messages": (shared.protocol.json_messages, "_RESPONSE_NOT_SIGNED", frozenset()),
    "proxy_protocol": (tcp_ingress.proxy_protocol, "_v1_address", always("somewhere")),
    "byte_ranges": (byte_ranges, "wanted_span", always(task_api.byte_ranges.Span(5, 5))),
    "cursors": (Links, "is_valid", always(True)),
}


@pytest.mark.parametrize("target", TARGETS)
def test_a_defect_in_the_code_under_test_is_found_by_the_corpus(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*PLANTED[target])
    found = 0
    for file in inputs_of(target):
        try:
            run_bounded(check_of(target), file.read_bytes())
        except Exception:  # noqa: BLE001  # whatever a planted defect leads to
            found += 1
    assert found > 0


def test_a_sign_made_without_the_secret_is_found_where_it_would_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    right = signatures.accepted
    monkeypatch.setattr(verification, "SECRET", "known to all")
    monkeypatch.setattr(signatures, "accepted", lambda param, sign: right(param, sign) or "as-sent")
    with pytest.raises(AssertionError):
        signatures.check(b'{"a":1}\xff{}\xff' + b"0" * 32)
    monkeypatch.setattr(shared.protocol.json_messages, "matching_form", always("as-sent"))
    body = b'{"sn":"1","token":"t","apicode":"T_GET_TASKS","param":{},"sign":"x"}'
    monkeypatch.setattr(json_messages, "check_head", always(None))
    with pytest.raises(AssertionError, match="without the secret"):
        json_messages.check(body)


# ── the corpus is small ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_corpus_keeps_the_smallest_inputs_that_take_every_branch(tmp_path: Path) -> None:
    learned = tmp_path / "learned"
    learned.mkdir()
    short, long = b"\x00PROXY UNKNOWN\r\n", b"\x00PROXY UNKNOWN with more behind it\r\n"
    for number, data in enumerate((long, short, b"\x00PROXY UNKNOWN " + b"x" * 3000)):
        (learned / str(number)).write_bytes(data)
    kept = minimize("proxy_protocol", learned, tmp_path / "corpus")
    files = list((tmp_path / "corpus" / "proxy_protocol").iterdir())
    assert kept == len(files) < 3 + len(seeds_of("proxy_protocol"))
    assert short in [file.read_bytes() for file in files]
    assert long not in [file.read_bytes() for file in files]
    assert minimize("proxy_protocol", tmp_path / "nothing", tmp_path / "corpus") == kept


def test_a_branch_is_a_step_between_two_lines_of_the_code_under_test() -> None:
    taken = branches(proxy_protocol.check, b"\x00PROXY UNKNOWN\r\n")
    assert {Path(path).name for path, _, _ in taken} == {"proxy_protocol.py"}
    assert taken < taken | branches(proxy_protocol.check, b"\x00PROXY TCP4 192.0.2.1 198.51.100.1 1 2\r\n")
