"""Some seconds of coverage-guided fuzzing of every target in every test run; `make fuzz SECONDS=…` is the long one."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.atheris_files import NoAtheris, atheris_folder
from tests.fuzz.campaign import fuzz, reason
from tests.fuzz.targets import CORPUS, ROOT, TARGETS

SECONDS = 5


def atheris_or_what_is_said_without() -> Path | None:
    """None where this platform has no wheel: then the corpus alone is run, by test_corpus.py."""
    try:
        return atheris_folder()
    except NoAtheris as error:
        if "no wheel of atheris for this platform" not in str(error):
            raise
        return None


@pytest.mark.parametrize("target", TARGETS)
def test_some_seconds_of_fuzzing_find_nothing(target: str, tmp_path: Path) -> None:
    atheris = atheris_or_what_is_said_without()
    if atheris is None:
        return
    outcome = fuzz(target, SECONDS, atheris, tmp_path)
    assert outcome.ended_well, reason(outcome)
    assert outcome.findings == []
    assert outcome.executions >= len(list((CORPUS / target).iterdir()))
    assert outcome.edges > 5


def test_a_defect_is_a_finding_that_can_be_repeated(tmp_path: Path) -> None:
    atheris = atheris_or_what_is_said_without()
    if atheris is None:
        return
    outcome = fuzz("frames", 60, atheris, tmp_path, worker="tests.fuzz.planted")
    assert not outcome.ended_well
    assert "AssertionError" in reason(outcome)
    (finding,) = outcome.findings
    # Without the defect the same command finds nothing.
    command = [sys.executable, "-m", "tests.fuzz", "frames", "--repeat", str(finding)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "nothing is wrong with this input\n")


def test_without_atheris_it_is_said_why(tmp_path: Path) -> None:
    with pytest.raises(NoAtheris, match="atheris"):
        atheris_folder(tmp_path, options=("--no-index",))


def test_on_a_platform_that_has_no_wheel_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoAtheris, match="no wheel of atheris for this platform"):
        atheris_folder(tmp_path, options=("--require-hashes", "--python-platform", "windows"))


def test_a_target_that_is_none_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "tea", "--seconds", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no target tea" in done.stderr
