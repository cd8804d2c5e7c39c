"""Fetching Kafka: shown, resumed, one at a time, and clear where it is impossible. Maven is a script of the test's."""

import fcntl
import time
from pathlib import Path

import pytest

from stack.cache import kafka_files
from stack.process import StackError
from tests.support.processes import wait_until_gone

# Finds the values of -Dmaven.repo.local and -DoutputDirectory among its arguments.
_PREAMBLE = """#!/bin/sh
for argument in "$@"; do case "$argument" in
  -Dmaven.repo.local=*) repository="${argument#*=}";;
  -DoutputDirectory=*) output="${argument#*=}";;
esac; done
mkdir -p "$repository" "$output"
"""


def fake_maven(directory: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    maven = directory / "bin" / "mvn"
    maven.parent.mkdir(exist_ok=True)
    maven.write_text(_PREAMBLE + script)
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", f"{maven.parent}:/usr/bin:/bin")


def test_what_is_fetched_once_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_maven(tmp_path, monkeypatch, 'touch "$output/a.jar" "$output/b.jar"')
    said: list[str] = []
    first = kafka_files(said.append, cache=tmp_path / "cache")
    assert said[0].startswith("fetching Kafka")
    assert said[-1] == "fetched 2 jars"
    fake_maven(tmp_path, monkeypatch, "exit 1")
    again = kafka_files(said.append, cache=tmp_path / "cache")
    assert again.java_command(Path("l"), Path("s")) == first.java_command(Path("l"), Path("s"))
    (class_path,) = [part for part in again.java_command(Path("l"), Path("s")) if part.endswith("/*")]
    assert sorted(jar.name for jar in Path(class_path).parent.glob("*.jar")) == ["a.jar", "b.jar"]


def test_without_maven_the_error_names_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match="apt-get install maven"):
        kafka_files(print, cache=tmp_path / "cache")


def test_a_failed_fetch_shows_mavens_last_lines_and_leaves_no_half_set_of_jars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_maven(tmp_path, monkeypatch, 'touch "$output/a.jar"; echo "no route to the mirror"; exit 1')
    with pytest.raises(StackError, match="no route to the mirror"):
        kafka_files(print, cache=tmp_path / "cache")
    fake_maven(tmp_path, monkeypatch, 'touch "$output/a.jar" "$output/b.jar"')
    said: list[str] = []
    kafka_files(said.append, cache=tmp_path / "cache")
    assert said[-1] == "fetched 2 jars"


def test_an_interrupted_fetch_ends_maven_and_keeps_what_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_maven(tmp_path, monkeypatch, f'touch "$repository/half.jar"; sleep 60 & echo $! > {tmp_path}/pid; wait')

    def interrupt_once_it_runs() -> None:
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            raise StackError("interrupted")

    with pytest.raises(StackError, match="interrupted"):
        kafka_files(print, interrupt_once_it_runs, cache=tmp_path / "cache")
    assert (tmp_path / "cache" / "maven" / "half.jar").exists()
    wait_until_gone(int((tmp_path / "pid").read_text()))


def test_a_second_process_waits_for_the_one_that_fetches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_maven(tmp_path, monkeypatch, 'touch "$output/a.jar"')
    cache = tmp_path / "cache"
    cache.mkdir()
    said: list[str] = []
    with (cache / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        release_at = time.monotonic() + 0.3

        def release() -> None:
            if time.monotonic() > release_at:
                fcntl.flock(other, fcntl.LOCK_UN)

        kafka_files(said.append, release, cache=cache)
    assert said[0].startswith("waiting for another process")
    assert said[-1] == "fetched 1 jars"
