"""The promise of the README, in a few minutes: what was answered with success is in MongoDB exactly once, whatever is
killed, cut off or hangs in between; and a build that breaks it is found out: `make chaos-smoke`."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.broken_builds import broken_builds
from tests.chaos.catalogue import smoke

SEED = "7"
PATIENCE = "4"
"""A machine that runs tests may be far slower than one that runs the platform."""
SECONDS = 900


def run_chaos(command: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """As a person would run it; a failure shows all that it printed."""
    arguments = [command, "--seed", SEED, "--patience", PATIENCE, "--data-dir", str(directory)]
    return subprocess.run(
        [sys.executable, "-m", "tests.chaos", *arguments], capture_output=True, text=True, check=False, timeout=SECONDS
    )


@pytest.mark.timeout(SECONDS + 60)
def test_what_was_answered_with_success_is_stored_exactly_once_whatever_is_killed_cut_off_or_hangs(
    tmp_path: Path,
) -> None:
    ended = run_chaos("smoke", tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "BROKEN" not in ended.stdout
    for fault in smoke():
        assert f"| {fault.name} |" in ended.stdout, f"{fault.name} is not in the timeline"
    sums = {name.strip(): int(count) for name, count in re.findall(r"^  (\S.*?) +(\d+)$", ended.stdout, re.MULTILINE)}
    assert sums["acknowledged"] > 300
    assert sums["stored"] >= sums["acknowledged"]
    assert sums["acknowledged with a picture"] > 200
    assert sums["tasks"] > 5
    # The faults were felt: terminals lost connections, were told to come again, and lost their sessions.
    for seen in ("connection lost", "500_01", "401_01"):
        assert f"{seen} ×" in ended.stdout


@pytest.mark.timeout(SECONDS + 60)
def test_a_build_that_breaks_the_promise_is_found_out_by_the_ledger(tmp_path: Path) -> None:
    ended = run_chaos("broken", tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for build in broken_builds():
        assert re.search(rf"the build that {build.name}, .*: found out: \d+ {build.found}", ended.stdout), ended.stdout
