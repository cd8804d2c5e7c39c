"""The targets by name, and one run of one of them with its bounds on time."""

import importlib
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"

TARGETS = (
    "frames",
    "messages",
    "params",
    "sign_in",
    "signatures",
    "verification",
    "json_messages",
    "proxy_protocol",
    "byte_ranges",
    "cursors",
)

UNDER_TEST = ("shared.protocol", "shared.domain.links", "tcp_ingress", "task_api", "console_service")
"""Whose branches guide the fuzzer."""

MAX_INPUT_BYTES = 4096
MAX_CPU_SECONDS = 2.0
"""For one input of that size. The worst text of 4 MiB takes 0.4 s (ADR 0015), and each is read some thirty times here,
by instrumented code; what grows faster than its input passes this soon."""

Check = Callable[[bytes], None]


def check_of(target: str) -> Check:
    """The target's check, which raises where the code under test does wrong."""
    check: Check = importlib.import_module(f"tests.fuzz.{target}").check
    return check


def run_bounded(check: Check, data: bytes) -> None:
    """One run. Raises AssertionError where it takes too long, too."""
    began = time.thread_time()
    check(data)
    took = time.thread_time() - began
    assert took < MAX_CPU_SECONDS, f"{took:.1f} s for {len(data)} bytes"
