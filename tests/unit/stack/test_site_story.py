"""What the site's story asks of the console, in which order, and that it never keeps a run from ending."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from stack.site_story import FIRMWARE, FIRMWARE_VERSION, SITE_NAME, WORKERS, SiteStory

SNS = [f"SIM{number:05d}" for number in range(1, 8)]
Answer = tuple[int, Any]
QUIET: dict[str, list[str]] = {"openTasks": [], "missing": [], "extra": [], "different": []}


class Asked:
    """Requests as they arrived: method, path and body."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, bytes]] = []

    def paths(self, method: str) -> list[str]:
        return [path for asked, path, _ in self.requests if asked == method]

    def body(self, method: str, path: str) -> bytes:
        """Of the last such request."""
        return [body for asked, where, body in self.requests if (asked, where) == (method, path)][-1]


def answers(method: str, path: str) -> Answer:
    """A console where everything goes well, and each terminal's report shows one difference."""
    if (method, path) == ("GET", "/sites?limit=200"):
        return 200, {"items": [], "next": None}
    if path == "/sites":
        return 201, {"siteId": "s1", "name": SITE_NAME}
    if path.endswith("/roster"):
        return 200, {**QUIET, "missing": ["1"]}
    if path == "/firmware":
        return 201, {"firmwareId": "f1"}
    return 200, {}


@contextmanager
def console(answering: Callable[[str, str], Answer]) -> Iterator[tuple[str, Asked]]:
    asked = Asked()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            assert self.headers["Authorization"] == "Bearer token"
            path = self.path.removeprefix("/api/v1")
            asked.requests.append((self.command, path, body))
            status, content = answering(self.command, path)
            text = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_PATCH = answer

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def told(url: str, until: str = "told") -> SiteStory:
    """A story that has come so far."""
    story = SiteStory(url, "token", SNS, pause_seconds=0)
    story.start()
    deadline = time.monotonic() + 20
    while not story.told.step.startswith(until):
        assert time.monotonic() < deadline, story.told
        time.sleep(0.01)
    return story


def test_a_site_s_workers_are_assigned_changed_reported_and_made_good() -> None:
    with console(answers) as (url, asked):
        story = told(url)
        story.stop()
    assert (story.told.workers, story.told.terminals, story.told.differences) == (WORKERS, 5, 5)
    header, *lines = asked.body("POST", "/persons/import").decode().splitlines()
    assert header == "personId,name,siteIds"
    assert lines[0] == "4508004291609636864,工人01,s1"
    assert len(lines) == 40
    assert asked.paths("PATCH") == [f"/devices/{sn}" for sn in SNS[:5]]
    changes = [path for path in asked.paths("PUT") if not path.endswith("/face")]
    assert len(asked.paths("PUT")) - len(changes) == 40
    assert changes == ["/persons/4508004291609636864", "/persons/4508004291609636903"]
    assert json.loads(asked.body("PUT", changes[0])) == {"name": "工人01（改名）"}
    assert json.loads(asked.body("PUT", changes[1])) == {"name": "工人40", "siteIds": []}
    posts = asked.paths("POST")
    assert posts == [
        "/sites",
        "/persons/import",
        "/tasks",
        *(f"/devices/{sn}/reconcile" for sn in SNS[:5]),
        "/firmware",
        "/campaigns",
    ]
    upload = asked.body("POST", "/firmware")
    assert f'name="version"\r\n\r\n{FIRMWARE_VERSION}\r\n'.encode() in upload
    assert FIRMWARE in upload
    assert json.loads(asked.body("POST", "/campaigns")) == {
        "firmwareId": "f1",
        "siteIds": ["s1"],
        "stages": [50, 100],
    }


def test_a_site_of_an_earlier_run_is_used_again() -> None:
    def has_site(method: str, path: str) -> Answer:
        if path == "/sites?limit=200":
            return 200, {"items": [{"siteId": "s0", "name": "other"}, {"siteId": "s7", "name": SITE_NAME}]}
        return answers(method, path)

    with console(has_site) as (url, asked):
        told(url).stop()
    assert "/sites" not in asked.paths("POST")
    assert json.loads(asked.body("PATCH", f"/devices/{SNS[0]}")) == {"siteId": "s7"}


def test_what_the_console_cannot_do_now_or_does_not_know_yet_is_asked_again() -> None:
    seen: dict[str, int] = {}

    def is_late(method: str, path: str) -> Answer:
        seen[path] = seen.get(path, 0) + 1
        if path == f"/devices/{SNS[0]}" and seen[path] == 1:
            return 404, {}
        if path == "/persons/import" and seen[path] == 1:
            return 503, {}
        return answers(method, path)

    with console(is_late) as (url, asked):
        told(url).stop()
    assert asked.paths("GET").count(f"/devices/{SNS[0]}") == 2
    assert asked.paths("POST").count("/persons/import") == 2


def test_what_the_console_refuses_ends_the_story_and_is_said() -> None:
    def refuses(method: str, path: str) -> Answer:
        return (409, {}) if path == "/firmware" else answers(method, path)

    with console(refuses) as (url, asked):
        story = told(url, "left out")
        story.stop()
    assert "/firmware answered 409" in story.told.step
    assert "/campaigns" not in asked.paths("POST")


def test_a_story_that_waits_is_left_at_once() -> None:
    with console(lambda method, path: (404, {})) as (url, _):
        story = SiteStory(url, "token", SNS)
        story.start()
        time.sleep(0.2)
        began = time.monotonic()
        story.stop()
    assert time.monotonic() - began < 0.9
    assert story.told.step == "waits for terminals"
