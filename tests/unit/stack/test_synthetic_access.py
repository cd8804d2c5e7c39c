"""The synthetic terminal of a stack: what is made for it, once, and what it is told."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from stack.certificates import Certificates
from stack.kept_secrets import SyntheticAccess, keep_synthetic, load_secrets
from stack.process import StackError
from stack.services import Ports, addresses_of, synthetic_plan
from stack.synthetic_access import synthetic_access
from tests.unit.stack.test_services import SECRETS

ACCESS = SyntheticAccess("id", "key", "secret", "op_viewer")


class _Console(BaseHTTPRequestHandler):
    """As much of the console as is asked; knows the vendor `known` alone."""

    asked: ClassVar[list[tuple[str, str, object]]]
    is_down: ClassVar[bool]

    def do_GET(self) -> None:
        self._answer(200, {"items": [{"vendorId": "v1", "credentials": [{"accessId": "known"}]}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, self.headers["Authorization"], body))
        made = {"accessId": "a", "accessKey": "k", "accessSecret": "s", "token": "op_t"}
        self._answer(201, made)

    def _answer(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(503 if self.is_down else status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        pass


@contextmanager
def console(*, is_down: bool = False) -> Iterator[tuple[str, list[tuple[str, str, object]]]]:
    """Its base URL, and what was posted to it."""
    asked: list[tuple[str, str, object]] = []
    handler = type("Console", (_Console,), {"asked": asked, "is_down": is_down})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_first_time_a_synthetic_vendor_and_a_viewers_token_are_made() -> None:
    with console() as (url, asked):
        assert synthetic_access(url, "admin", None) == SyntheticAccess("a", "k", "s", "op_t")
    assert asked == [
        ("/api/v1/vendors", "Bearer admin", {"name": "synthetic", "synthetic": True}),
        ("/api/v1/tokens", "Bearer admin", {"role": "viewer", "name": "synthetic terminal"}),
    ]


def test_what_was_kept_is_used_while_the_platform_knows_it_and_made_anew_where_it_does_not() -> None:
    kept = SyntheticAccess("known", "key", "secret", "op_viewer")
    with console() as (url, asked):
        assert synthetic_access(url, "admin", kept) == kept
        assert asked == []
        assert synthetic_access(url, "admin", ACCESS).access_id == "a"


def test_a_console_that_refuses_ends_the_start_with_a_reason() -> None:
    with console(is_down=True) as (url, _), pytest.raises(StackError, match=r"synthetic terminal.*503"):
        synthetic_access(url, "admin", None)


def test_it_is_kept_in_the_secrets_and_an_older_file_has_none(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    first = load_secrets(file)
    assert first.synthetic is None
    keep_synthetic(file, first, ACCESS)
    assert load_secrets(file).synthetic == ACCESS
    older = json.loads(file.read_text(encoding="utf-8"))
    del older["synthetic"]
    file.write_text(json.dumps(older), encoding="utf-8")
    assert load_secrets(file) == first


def test_it_is_told_where_the_front_door_and_the_console_are_and_its_own_secrets_alone() -> None:
    ports = Ports(tcp=7001, tcp_tls=2, https=3, console=8081, session=5)
    certificates = Certificates(Path("/ca.pem"), Path("/server.pem"), Path("/server.key"))
    addresses = addresses_of(ports, SECRETS, certificates, "kafka:9", "redis://r", "mongodb://m", "db")
    plan = synthetic_plan(addresses, ACCESS)
    told = {name.removeprefix("SYNTHETIC_TERMINAL_"): value for name, value in plan.environment.items()}
    assert all(name.startswith("SYNTHETIC_TERMINAL_") for name in plan.environment)
    assert (told["HOST"], told["PORT"], told["CONSOLE_URL"]) == ("127.0.0.1", "7001", "http://127.0.0.1:8081")
    assert (told["ACCESS_ID"], told["ACCESS_KEY"], told["ACCESS_SECRET"]) == ("id", "key", "secret")
    assert told["CONSOLE_TOKEN"] == "op_viewer"
    assert told["ADMIN_PORT"] == str(plan.admin_port)
    assert "admin" not in told.values()
