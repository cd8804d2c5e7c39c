"""The folder of one stack (.run by default): data, logs, secrets, certificates, and the lock that one stack holds."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stack.process import StackError


class RunDirectory:
    """Where a stack keeps what it has; a second run with the same folder goes on with it."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.data = self.root / "data"
        self.logs = self.root / "logs"
        self.certificates = self.root / "certificates"
        self.secrets_file = self.root / "secrets.json"
        self.stack_file = self.root / "stack.json"
        self.admin_file = self.root / "admin.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the folder. Raises StackError where another stack holds it."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                lock.seek(0)
                raise StackError(
                    f"a stack is running in {self.root} already (pid {lock.read().strip() or 'unknown'}): "
                    "end it, or name another folder with --data-dir"
                ) from error
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def prepare(self, *, fresh: bool) -> None:
        """Begins new logs, and where `fresh` drops all that an earlier run kept."""
        self.say_down()
        shutil.rmtree(self.logs, ignore_errors=True)
        if fresh:
            shutil.rmtree(self.data, ignore_errors=True)
            shutil.rmtree(self.certificates, ignore_errors=True)
            self.secrets_file.unlink(missing_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)

    def say_down(self) -> None:
        """Removes the files that are there only while all runs."""
        self.stack_file.unlink(missing_ok=True)
        self.admin_file.unlink(missing_ok=True)


def write_private_json(path: Path, value: object) -> None:
    """Writes a file that only its owner may read, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.write("\n")
    partial.replace(path)
