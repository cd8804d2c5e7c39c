"""Runs targets under libFuzzer, one process each, and says what came of it."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import CORPUS, MAX_INPUT_BYTES, ROOT

RSS_LIMIT_MB = 1024
INPUT_SECONDS = 120
"""After which libFuzzer gives an input up, however busy the machine; run_bounded finds what is slow."""


@dataclass(frozen=True)
class Outcome:
    """What a target's run gave."""

    target: str
    executions: int
    edges: int
    """Branches of the code under test that were taken."""
    corpus: int
    """Inputs known at its end."""
    findings: Sequence[Path]
    log: Path
    ended_well: bool


def fuzz(target: str, seconds: int, atheris: Path, work: Path, *, seed: int = 0, worker: str = "") -> Outcome:
    """One target for so long; what it finds is kept under `work`, and so is what it learned, for the next run.

    `worker` is the module that is started in place of worker.py.
    """
    learned, found, log = work / target / "corpus", work / target / "findings", work / target / "log"
    for folder in (learned, found):
        folder.mkdir(parents=True, exist_ok=True)
    known = set(found.iterdir())
    committed = CORPUS / target
    command = [sys.executable, "-m", worker or "tests.fuzz.worker", target, f"-max_total_time={seconds}"]
    command += [f"-timeout={INPUT_SECONDS}", f"-rss_limit_mb={RSS_LIMIT_MB}", f"-max_len={MAX_INPUT_BYTES}"]
    command += [f"-artifact_prefix={found}/", "-print_final_stats=1", f"-seed={seed}", str(learned)]
    command += [str(committed)] if committed.is_dir() else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(atheris), str(ROOT)])}
    with log.open("wb") as output:
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=output, stderr=output, check=False)
    text = log.read_text(encoding="utf-8", errors="replace")
    return Outcome(
        target,
        executions=_last(r"stat::number_of_executed_units: (\d+)", text) or _last(r"^#(\d+)\t", text),
        edges=_last(r"cov: (\d+) ", text),
        corpus=_last(r"corp: (\d+)/", text),
        findings=sorted(set(found.iterdir()) - known),
        log=log,
        ended_well=done.returncode == 0,
    )


def _last(pattern: str, text: str) -> int:
    found = re.findall(pattern, text, re.MULTILINE)
    return int(found[-1]) if found else 0


def reason(outcome: Outcome) -> str:
    """What the log says of why a run did not end well: the exception, or libFuzzer's own line."""
    text = outcome.log.read_text(encoding="utf-8", errors="replace")
    said = re.findall(r"^(?:\w+(?:\.\w+)*(?:Error|Exception|Problem|Failed)\b.*|ALARM.*|ERROR.*)$", text, re.MULTILINE)
    return said[-1][:300] if said else text[-300:]
