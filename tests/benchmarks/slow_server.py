"""A web server on loopback in a process of its own, which answers late, as one far away does.

    python slow_server.py FOLDER SECONDS

prints its port.
"""

from __future__ import annotations

import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def log_message(self, *_: Any) -> None:
        return

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, with_body: bool) -> None:
        time.sleep(float(sys.argv[2]))
        try:
            file = os.open(sys.argv[1] + self.path, os.O_RDONLY)
        except OSError:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        try:
            size = os.fstat(file).st_size
            first, last = 0, size - 1
            wanted = self.headers.get("Range")
            if wanted:
                start, _, stop = wanted.removeprefix("bytes=").partition("-")
                first = int(start) if start else size - int(stop)
                last = min(int(stop), size - 1) if start and stop else size - 1
            self.send_response(206 if wanted else 200)
            self.send_header("ETag", f'"{size}"')
            self.send_header("Accept-Ranges", "bytes")
            if wanted:
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            self.send_header("Content-Length", str(last - first + 1))
            self.end_headers()
            self.wfile.flush()
            left = last - first + 1 if with_body else 0
            while left:
                sent = os.sendfile(self.connection.fileno(), file, last + 1 - left, left)
                left -= sent
        finally:
            os.close(file)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        return  # a client may hang up


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
