"""A server on loopback whose answers are bytes, so that they can be wrong in every way."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass
class Request:
    """What was asked for.

    Args:
        path: the path of the URL.
        start: the first byte of the range. 0 if there is none.
        stop: the end of the range.
        number: how many requests came before.
        headers: the request as it came.
        connection: over which connection it came, counted from 1.
    """

    path: str
    start: int
    stop: int
    number: int
    headers: str = ""
    connection: int = 0


# Gives the bytes to send, or several, one after the other, until the client hangs up.
Answer = Callable[[Request], bytes | Iterator[bytes]]


@dataclass
class RawServer:
    """What the server has seen.

    Args:
        url: its address.
        answer: what it answers. The connection is closed after each answer, unless it ``stays``.
        requests: what was asked for.
        sent: how many bytes were sent.
    """

    url: str
    answer: Answer
    requests: list[Request] = field(default_factory=list)
    sent: int = 0
    stays: bool = False
    tls: ssl.SSLContext | None = None
    connections: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, connection: socket.socket) -> None:
        with self.lock:
            self.connections += 1
            mine = self.connections
        with contextlib.suppress(OSError), self._encrypted(connection) as connection:
            while self._serve_one(connection, mine) and self.stays:
                pass

    def _encrypted(self, connection: socket.socket) -> socket.socket:
        if self.tls is None:
            return connection
        try:
            return self.tls.wrap_socket(connection, server_side=True)
        except OSError:
            connection.close()
            raise

    def _serve_one(self, connection: socket.socket, mine: int) -> bool:
        """Answer one request. Returns whether there was one."""
        head = b""
        while b"\r\n\r\n" not in head:
            if not (piece := connection.recv(1 << 16)):
                return False
            head += piece
        found = re.search(rb"range: bytes=(\d+)-(\d+)", head, re.I)
        start, last = (int(found[1]), int(found[2])) if found else (0, -1)
        with self.lock:
            path = head.split()[1].decode()
            request = Request(
                path, start, last + 1, len(self.requests), head.decode("latin-1"), mine
            )
            self.requests.append(request)
        given = self.answer(request)
        for piece in [given] if isinstance(given, bytes) else given:
            connection.sendall(piece)
            with self.lock:
                self.sent += len(piece)
        return True


@contextlib.contextmanager
def answering(
    answer: Answer, stays: bool = False, tls: ssl.SSLContext | None = None
) -> Iterator[RawServer]:
    """Answer requests while the block runs.

    Args:
        answer: what it answers.
        stays: whether a connection stays open for further requests.
        tls: how connections are encrypted, if they are.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        url = f"http{'s' if tls else ''}://127.0.0.1:{listening.getsockname()[1]}/"
        server = RawServer(url, answer, stays=stays, tls=tls)

        def accept() -> None:
            with contextlib.suppress(OSError):  # it was shut down
                while True:
                    connection, _ = listening.accept()
                    connection.settimeout(20)
                    threading.Thread(target=server.serve, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def response(
    status: str,
    headers: dict[str, str],
    body: bytes = b"",
    version: str = "1.1",
    sized: bool = True,
) -> bytes:
    """An answer of HTTP."""
    lines = [f"HTTP/{version} {status}", *(f"{name}: {value}" for name, value in headers.items())]
    if sized:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def part(data: bytes, request: Request, **headers: str) -> bytes:
    """The right answer to a request for a range, but for headers that are given."""
    body = data[request.start : request.stop]
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    right = {
        "ETag": '"1"',
        "Content-Range": f"bytes {request.start}-{request.start + len(body) - 1}/{len(data)}",
    }
    return response("206 Partial Content", right | given, body)


def chunked(body: bytes, size: int = 1000) -> bytes:
    """A body in chunks."""
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in pieces) + b"0\r\n\r\n"
