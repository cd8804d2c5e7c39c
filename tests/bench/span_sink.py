"""A collector that throws away what it gets, in a process of its own: what tracing costs is the sender's part."""

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

START_SECONDS = 60


class _Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Nothing: requests are no news."""


def _serve(ports: "multiprocessing.Queue[int]", cores: set[int]) -> None:
    os.sched_setaffinity(0, cores)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Sink) as server:
        ports.put(server.server_port)
        server.serve_forever()


@contextmanager
def running_sink(cores: set[int]) -> Iterator[str]:
    """Its base URL, for the length of a block."""
    context = multiprocessing.get_context("spawn")
    ports: multiprocessing.Queue[int] = context.Queue()
    process = context.Process(target=_serve, args=(ports, cores), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ports.get(timeout=START_SECONDS)}"
    finally:
        process.terminate()
        process.join()
