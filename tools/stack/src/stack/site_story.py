"""What an operator would do with a site, done through the console's REST API while simulated terminals work: workers
assigned, one renamed, one taken off, rosters reported and made good, a firmware campaign. Runs in a thread of its own.

Whatever the console does not take is tried again, and where it refuses for good that step is left out: it is a show,
and never the reason for a run to end.
"""

import json
import threading
from dataclasses import dataclass
from typing import Any

from stack.cache import REPOSITORY
from stack.http_client import RequestFailed, get, send

FACE = REPOSITORY / "tools" / "terminal_simulator" / "src" / "terminal_simulator" / "face.jpg"
SITE_NAME = "simulated site"
FIRST_PERSON = 4508004291609636864
WORKERS = 40
MOST_TERMINALS = 5
FIRMWARE_VERSION = "simulator-2.0"
FIRMWARE = bytes(range(256)) * 2_500
AGAIN_SECONDS = 1.0
LOOK_SECONDS = 0.5
SETTLE_SECONDS = 15.0
BOUNDARY = "site-story"
JSON, CSV, JPEG = "application/json", "text/csv", "image/jpeg"


class Left(Exception):
    """The run ends."""


@dataclass
class Told:
    """How far the story is; read by others while it goes on."""

    workers: int = 0
    terminals: int = 0
    step: str = "waits for terminals"
    differences: int | None = None
    """Found by reports; None before they are there."""


class SiteStory:
    """The story of one run; begun by `start`."""

    def __init__(self, console: str, token: str, sns: list[str], *, pause_seconds: float = 2.0) -> None:
        self.told = Told()
        self._console = f"{console}/api/v1"
        self._token = token
        self._sns = sns[:MOST_TERMINALS]
        self._pause_seconds = pause_seconds
        self._leaves = threading.Event()
        self._thread = threading.Thread(target=self._run, name="site story", daemon=True)

    def start(self) -> None:
        """Begins it; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Returns when nothing is asked any more."""
        self._leaves.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._tell()
        except Left:
            return
        except RequestFailed as error:
            self.told.step = f"left out: {error}"
        else:
            self.told.step = "told"

    def _tell(self) -> None:
        for sn in self._sns:
            self._ask("GET", f"/devices/{sn}", patient=True)  # there from its first C_AUTH on
        site_id = self._site()
        ids = [str(FIRST_PERSON + number) for number in range(WORKERS)]
        self.told.step = "assigns workers"
        lines = "".join(f"{person_id},{_name(person_id)},{site_id}\n" for person_id in ids)
        self._ask("POST", "/persons/import", f"personId,name,siteIds\n{lines}".encode(), CSV)
        for sn in self._sns:
            self._change("PATCH", f"/devices/{sn}", {"siteId": site_id})
            self.told.terminals += 1
        face = FACE.read_bytes()
        for person_id in ids:
            self._ask("PUT", f"/persons/{person_id}/face", face, JPEG)
            self.told.workers += 1
        self._let_settle()

        self.told.step = "renames a worker and takes one off"
        self._change("PUT", f"/persons/{ids[0]}", {"name": f"{_name(ids[0])}（改名）"})
        self._change("PUT", f"/persons/{ids[-1]}", {"name": _name(ids[-1]), "siteIds": []})
        self._let_settle()

        self.told.step = "has rosters reported"
        wish = {"apicode": "T_POST_DEVICE_PERSON", "siteId": site_id, "excludeFields": ["img"], "push": True}
        self._change("POST", "/tasks", wish)
        self._let_settle()
        self.told.differences = sum(map(self._count_differences, self._sns))
        self.told.step = "reconciles"
        for sn in self._sns:
            self._ask("POST", f"/devices/{sn}/reconcile")
        self._let_settle()

        self.told.step = "installs firmware"
        self._change("POST", "/campaigns", {"firmwareId": self._firmware(), "siteIds": [site_id], "stages": [50, 100]})

    def _site(self) -> str:
        listed = self._ask("GET", "/sites?limit=200", patient=True)["items"]
        known = [site["siteId"] for site in listed if site["name"] == SITE_NAME]
        return str(known[0] if known else self._change("POST", "/sites", {"name": SITE_NAME})["siteId"])

    def _firmware(self) -> str:
        parts = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="version"\r\n\r\n{FIRMWARE_VERSION}\r\n'
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="package.bin"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        body = parts.encode() + FIRMWARE + f"\r\n--{BOUNDARY}--\r\n".encode()
        return str(self._ask("POST", "/firmware", body, f"multipart/form-data; boundary={BOUNDARY}")["firmwareId"])

    def _let_settle(self) -> None:
        """Waits until no terminal has a task about its workers open, but not for ever: some may be away."""
        self._wait(self._pause_seconds)
        for _ in range(int(SETTLE_SECONDS / LOOK_SECONDS)):
            if not any(self._ask("GET", f"/devices/{sn}/roster")["openTasks"] for sn in self._sns):
                return
            self._wait(LOOK_SECONDS)

    def _count_differences(self, sn: str) -> int:
        roster = self._ask("GET", f"/devices/{sn}/roster")
        return sum(len(roster[name]) for name in ("missing", "extra", "different"))

    def _change(self, method: str, path: str, body: dict[str, Any]) -> Any:
        return self._ask(method, path, json.dumps(body).encode(), JSON)

    def _ask(
        self, method: str, path: str, body: bytes | None = None, content_type: str = JSON, *, patient: bool = False
    ) -> Any:
        """The answer's JSON. Raises RequestFailed where the console refuses, unless one is patient; Left."""
        while not self._leaves.is_set():
            try:
                if method == "GET":
                    return json.loads(get(f"{self._console}{path}", token=self._token, timeout_seconds=5.0))
                return send(method, f"{self._console}{path}", body, content_type, token=self._token)
            except RequestFailed as error:
                if error.is_refusal and not patient:
                    raise
            self._wait(AGAIN_SECONDS)
        raise Left

    def _wait(self, seconds: float) -> None:
        if self._leaves.wait(seconds):
            raise Left


def _name(person_id: str) -> str:
    return f"工人{int(person_id) - FIRST_PERSON + 1:02d}"
