"""A real Prometheus: the one in PATH, else Debian's package, unpacked under .cache without being installed."""

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from stack.cache import CACHE
from stack.guard import Guard
from stack.http_client import RequestFailed, get
from stack.ports import free_port
from stack.process import Process
from stack.server import Server

APT_SECONDS = 180


class PrometheusMissing(Exception):
    """There is none and none can be had; the text says what to install."""


class Binaries(NamedTuple):
    """Prometheus and its promtool."""

    prometheus: Path
    promtool: Path


def binaries(cache: Path = CACHE / "prometheus", path: str | None = None) -> Binaries:
    """Those of PATH (or `path`), else of the cache, which is filled where it is empty. Raises PrometheusMissing."""
    found = [shutil.which(name, path=path) for name in Binaries._fields]
    if all(found):
        return Binaries(*(Path(str(file)) for file in found))
    if not cache.is_dir():
        cache.parent.mkdir(parents=True, exist_ok=True)
        with cache.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not cache.is_dir():
                _fetch(cache)
    return Binaries(*(cache / "usr" / "bin" / name for name in Binaries._fields))


def _fetch(cache: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache.parent) as scratch:
        folder, unpacked = Path(scratch), Path(scratch) / "unpacked"
        try:
            if os.geteuid() == 0:
                _run(folder, "apt-get", "update", "-q")
            _run(folder, "apt-get", "download", "-q", "prometheus")
            (package,) = folder.glob("prometheus_*.deb")
            _run(folder, "dpkg-deb", "-x", str(package), str(unpacked))
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            told = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else error
            raise PrometheusMissing(
                f"prometheus and promtool are needed in PATH (Debian: apt-get install prometheus); "
                f"Debian's package could not be fetched either: {told}"
            ) from error
        unpacked.rename(cache)


def _run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=APT_SECONDS)


class Sample(NamedTuple):
    """One series of an answer."""

    labels: Mapping[str, str]
    value: float


class Prometheus(Server):
    """One that reads the given targets by the given rules; its data are dropped with its folder."""

    def __init__(
        self, folder: Path, guard: Guard, scrapes: Sequence[Mapping[str, Any]], rules: Mapping[str, Any], interval: str
    ) -> None:
        folder.mkdir(parents=True)
        (folder / "rules.yaml").write_text(yaml.safe_dump(dict(rules), allow_unicode=True), encoding="utf-8")
        config = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
            "rule_files": ["rules.yaml"],
            "scrape_configs": list(scrapes),
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [
            str(binaries().prometheus),
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--enable-feature=exemplar-storage",
            "--log.level=warn",
        ]
        super().__init__(Process("prometheus", command, log_file=folder / "prometheus.log", guard=guard))

    def answers(self) -> bool:
        try:
            get(f"{self.url}/-/ready")
        except RequestFailed:
            return False
        return True

    def query(self, expression: str) -> list[Sample]:
        """What an expression gives now. Raises RequestFailed where it does not parse."""
        data = self._get("query", query=expression)
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        return [Sample(each["metric"], float(each["value"][1])) for each in data["result"]]

    def alerts(self) -> list[Mapping[str, Any]]:
        """Alerts that are pending or fire, with labels, annotations and state."""
        active: list[Mapping[str, Any]] = self._get("alerts")["alerts"]
        return active

    def rules(self) -> list[Mapping[str, Any]]:
        """Every rule with its health and last error."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def exemplars(self, expression: str, start: float, end: float) -> list[Mapping[str, Any]]:
        """Exemplars of the series that an expression names."""
        found: list[Mapping[str, Any]] = self._get("query_exemplars", query=expression, start=start, end=end)
        return found

    def _get(self, what: str, **parameters: object) -> Any:
        query = urllib.parse.urlencode(parameters)
        return json.loads(get(f"{self.url}/api/v1/{what}?{query}", timeout_seconds=10))["data"]
