"""A web server on loopback that serves a folder, counts what it sends, and misbehaves if asked."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

_QUIET = 0.1  # seconds without a request, after which those that came are a round


class WebServer:
    """What the tests ask of the server, and what it has counted.

    Attributes:
        requests: the path of each request that was answered, with its range or None.
        sent: how many bytes of files were sent.
        ranges: whether it answers requests for ranges.
        etags: whether it sends an ETag. Otherwise it sends Last-Modified.
        matches: whether it minds If-Match.
        lists: whether the page of a folder links to its files.
        pause: seconds before each answer.
        connections: how many were made.
        rounds: how often requests were answered together, if ``gathers``.
        gathers: whether answers wait until no further request comes, so that requests that do not
            depend on each other are one round.
        faults: what goes wrong with the next requests, one after the other: a status, "drop" for a
            connection that is closed, "short" for an answer that ends too early, "shifted" for
            another part than the one asked for, "whole" for the whole file. None is no fault.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[tuple[str, str | None]] = []
        self.headers: list[dict[str, str]] = []
        self.sent = 0
        self.most_at_once = 0
        self.ranges = self.etags = self.matches = True
        self.lists = False
        self.pause = 0.0
        self.gathers = False
        self.rounds = 0
        self._waiting: list[threading.Event] = []
        self._last = 0.0
        self.faults: list[Any] = []
        self.lock = threading.Lock()
        self.busy = 0
        self.url = ""
        self.connections = 0

    def clear(self) -> None:
        """Forget what was counted."""
        self.requests.clear()
        self.headers.clear()
        self.sent = self.rounds = 0

    def wait(self) -> None:
        """Wait until no further request comes."""
        mine = threading.Event()
        with self.lock:
            self._waiting.append(mine)
            self._last = time.monotonic()
        while not mine.wait(_QUIET / 4):
            with self.lock:
                if mine in self._waiting and time.monotonic() - self._last > _QUIET:
                    self.rounds += 1
                    for each in self._waiting:
                        each.set()
                    self._waiting.clear()

    def etag(self, path: Path) -> str:
        status = path.stat()
        return f'"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"'


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    web: WebServer

    def log_message(self, *_: Any) -> None:
        return

    def setup(self) -> None:
        super().setup()
        with self.web.lock:
            self.web.connections += 1

    def do_GET(self) -> None:
        web = self.web
        with web.lock:
            web.busy += 1
            web.most_at_once = max(web.most_at_once, web.busy)
            fault = web.faults.pop(0) if web.faults else None
        try:
            if web.pause:
                time.sleep(web.pause)
            if web.gathers:
                web.wait()
            self._answer(fault)
        finally:
            with web.lock:
                web.busy -= 1

    def _answer(self, fault: Any) -> None:
        web = self.web
        path = web.folder / os.fsdecode(unquote_to_bytes(urlsplit(self.path).path).lstrip(b"/"))
        wanted = self.headers.get("Range")
        with web.lock:
            web.requests.append((self.path, wanted))
            web.headers.append(dict(self.headers))
        if fault == "drop":
            # A reset, as when a machine in between gives up.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
            self.close_connection = True
            return
        if isinstance(fault, int):
            self._send(fault, {}, b"<html><body>an error page</body></html>")
            return
        if path.is_dir() and web.lists:
            links = "".join(f'<a href="{each.name}">{each.name}</a>' for each in path.iterdir())
            self._send(200, {"Content-Type": "text/html"}, f"<html>{links}</html>".encode())
            return
        if not path.is_file():
            self._send(404, {}, b"")
            return
        size = path.stat().st_size
        tag = web.etag(path)
        headers = {"ETag": tag} if web.etags else {"Last-Modified": str(path.stat().st_mtime_ns)}
        if web.matches and self.headers.get("If-Match", tag) != tag:
            self._send(412, {}, b"")
            return
        if not web.ranges or wanted is None or fault == "whole":
            self._send(200, headers, path.read_bytes())
            return
        start, stop = (int(each) for each in wanted.removeprefix("bytes=").split("-"))
        if start >= size:
            self._send(416, {"Content-Range": f"bytes */{size}"}, b"")
            return
        if fault == "shifted":
            start += 1
        with path.open("rb") as file:
            file.seek(start)
            body = file.read(stop + 1 - start)
        headers["Content-Range"] = f"bytes {start}-{start + len(body) - 1}/{size}"
        self._send(206, headers, body, cut=fault == "short")

    def _send(self, status: int, headers: dict[str, str], body: bytes, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if cut:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        if status < 300:
            with self.web.lock:
                self.web.sent += len(body)
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        return  # a client may hang up


@contextmanager
def serving(folder: Path) -> Iterator[WebServer]:
    """Serve a folder while the block runs."""
    web = WebServer(folder)
    handler = type("Handler", (_Handler,), {"web": web})
    server = _Server(("127.0.0.1", 0), handler)
    web.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
