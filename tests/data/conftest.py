"""Fixtures: a toy data set on two local web servers, and the real data sets where this machine has a copy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from toy_data import CONTENT, Server, known, local_source, register

from dfa_cli.data.catalogue import RawFile
from dfa_cli.data.source import Source


@pytest.fixture
def serve() -> Iterator[Callable[[], Server]]:
    """Start web servers on 127.0.0.1; they stop when the test ends."""
    running: list[tuple[ThreadingHTTPServer, Server]] = []

    def start() -> Server:
        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.answer(with_body=False)

            def do_GET(self) -> None:
                self.answer(with_body=True)

            def answer(self, with_body: bool) -> None:
                server.asked.append(f"{self.command} {self.path}")
                if server.stall.is_set():
                    while server.stall.is_set():
                        time.sleep(0.01)
                    return
                body = server.files.get(self.path.lstrip("/"))
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                if with_body and body is not None:
                    quarter = len(body) // 4 + 1
                    with suppress(ConnectionError):  # the client may close the connection early
                        for start in range(0, len(body), quarter):
                            self.wfile.write(memoryview(body)[start : start + quarter])
                            time.sleep(server.pause)

            def log_message(self, format: str, *args: object) -> None:
                """Write nothing: the default prints a line for each request."""

        http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        http.daemon_threads = True
        server = Server(f"http://127.0.0.1:{http.server_address[1]}/")
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        running.append((http, server))
        return server

    yield start
    for http, server in running:
        server.stall.clear()
        http.shutdown()
        http.server_close()


@pytest.fixture
def toy(serve: Callable[[], Server], monkeypatch: pytest.MonkeyPatch) -> tuple[RawFile, Server, Server]:
    """The data set `toy` of one file. The first server has the file, the second has nothing."""
    first, second = serve(), serve()
    file = known("toy.bin", CONTENT, first.address + "toy.bin", second.address + "toy.bin")
    register(monkeypatch, file)
    first.files["toy.bin"] = CONTENT
    return file, first, second


@pytest.fixture
def real(tmp_path: Path) -> Callable[[str], Source]:
    """`local_source`, with an empty cache in the folder of the test."""
    return lambda name: local_source(name, tmp_path / "cache")
