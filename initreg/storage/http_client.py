"""Asking web servers, in the thread that wants the answer.

Each connection is used by one thread at a time, which receives straight into the memory of the
array. In measurements that takes half of the processor time of a client whose one thread takes all
answers, and several threads decrypt at once. urllib3 takes twice the processor time for large
files and 1.4 times for small ranges (tests/benchmarks/http_clients.py; CONTRIBUTING.md says more).

Source of the rules: RFC 9110, sections 9.2.2 (what may be asked again), 11.6 (credentials), 15.2
(interim answers) and 15.4 (redirects), and RFC 9112, section 9.3 (connections that are kept).
"""

from __future__ import annotations

import base64
import contextlib
import functools
import re
import select
import socket
import threading
import time
import weakref
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urljoin, urlsplit

from initreg.storage.stores import StoreError, Transient

CONNECT, SILENCE, TOTAL = 15.0, 60.0, 300.0  # seconds
_NEXT_ADDRESS = 2.0  # seconds after which the next address of a host is tried, if it has several
_HEAD = 1 << 14  # bytes that are received at once, if no memory waits for them
_BUFFER = 1 << 16  # bytes of an answer that nobody wants, which are taken to keep the connection
_MOST_REDIRECTS = 10
_MOST_IDLE = 64  # connections
_REDIRECTS = (301, 302, 303, 307, 308)
_INTERIM = range(102, 200)
_MOST_COOKIES, _LONGEST_COOKIE = 50, 4096  # of one server, and in letters
# The headers of the user that another host is sent, too. Any other may be a secret.
_HARMLESS = {"user-agent", "accept", "accept-language"}
_NO_TEXT = re.compile(r"[\x00-\x20\x7f-\U0010ffff]")
_HOST = re.compile(r"[\w.:-]+", re.ASCII)  # a name or an address
_NO_HEADER = re.compile(r"[\r\n\0]")
_TARGET = "%/:?#[]@!$&'()*+,;=~"  # what stays as it is in an address that a server sends


class Origin(NamedTuple):
    """Who is asked. Credentials are for one of them."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin:
        """Raises StoreError if it is not a URL of a web server."""
        try:
            parts = urlsplit(url)
            scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
            port = parts.port or {"http": 80, "https": 443}.get(scheme, 0)
            host = host if host.isascii() else host.encode("idna").decode()
        except ValueError:
            scheme = host = ""
            port = 0
        if scheme not in ("http", "https") or not _HOST.fullmatch(host):
            raise StoreError("it leads to an address that is not a URL of a web server")
        return cls(scheme, host, port)


class Answer:
    """The answer of a server, whose body is not read yet. It is used in a ``with`` statement.

    Args:
        url: the address that it came from, after redirects.
    """

    def __init__(self, client: HttpClient, connection: _Connection, response: Any, url: str):
        self._client = client
        self._connection = connection
        self._response = response
        self.url = url
        self.status: int = response.status
        self.reason: str = response.reason
        self.headers: Any = response.headers

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        response = self._response
        if kind is None and not response.isclosed() and (response.length or 0) <= _BUFFER:
            with contextlib.suppress(OSError, Transient):
                self.read((response.length or 0) + 1)  # so that the connection can stay
        can_stay = kind is None and response.isclosed() and not response.will_close
        self._client.put_back(self._connection, can_stay)

    def read(self, most: int) -> bytes:
        """The next bytes of the body: ``most`` of them, or fewer if it ends before."""
        found = bytearray(most)
        return bytes(memoryview(found)[: self.fill(memoryview(found))])

    def fill(self, into: memoryview) -> int:
        """Receive the next bytes of the body. Returns how many, fewer only if it ends before."""
        at = 0
        try:
            while at < len(into) and (count := self._response.readinto(into[at:])):
                at += count
        except IncompleteRead as error:
            raise Transient("the answer ended too early") from error
        except (HTTPException, ValueError) as error:
            raise Transient(f"the answer is not HTTP ({type(error).__name__})") from error
        return at


class HttpClient:
    """Connections to web servers. It can be used from several threads.

    Args:
        headers: what the user wants to be sent.
        auth: the name and the password of the user.
        origin: who is sent all headers and the password. Others get the harmless ones.
    """

    def __init__(
        self, headers: Mapping[str, str], auth: tuple[str, str] | None, origin: Origin
    ) -> None:
        self._origin = origin
        self._all = dict(headers)
        self._harmless = {k: v for k, v in self._all.items() if k.lower() in _HARMLESS}
        if auth is not None and "authorization" not in map(str.lower, self._all):
            self._all["Authorization"] = _basic(*auth)
        self._idle: dict[Origin, list[_Connection]] = {}
        self._good: dict[Origin, Any] = {}  # the address of a host that answered
        self._cookies: dict[Origin, dict[str, str]] = {}  # each goes back to who sent it only
        self._lock = threading.Lock()
        weakref.finalize(self, _close_all, self._idle)

    def after_fork(self) -> None:
        """Forget connections, which are the parent's."""
        self._lock = threading.Lock()
        _close_all(self._idle)

    def get(self, url: str, headers: Mapping[str, str]) -> Answer:
        """Ask for a URL, and for where it leads to.

        Args:
            url: an address, all of whose letters may be in one.
            headers: of this request.

        Raises:
            StoreError: it leads nowhere.
            Transient, OSError: there was no answer.
        """
        for _ in range(_MOST_REDIRECTS + 1):
            answer = self._ask(url, headers)
            target = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or target is None:
                return answer
            with answer:
                pass
            try:
                url = quote(urljoin(url, target.strip()).partition("#")[0], safe=_TARGET)
            except ValueError:
                url = ""
        raise StoreError("the server redirects without end")

    def _ask(self, url: str, headers: Mapping[str, str]) -> Answer:
        origin = Origin.of(url)
        request = self._request(url, origin, headers)
        connection = self._kept(origin)
        if connection is not None:
            # The server may have closed it at this moment. Then it has not answered at all.
            with contextlib.suppress(_Silent):
                return self._answer(connection, request, url)
        try:
            return self._answer(self._connected(origin), request, url)
        except _Silent as error:
            raise Transient("the server disconnected without an answer") from error

    def _answer(self, connection: _Connection, request: bytes, url: str) -> Answer:
        try:
            connection.begin(request)
            while True:
                response = HTTPResponse(connection, method="GET")  # type: ignore[arg-type]
                response.begin()
                if response.status not in _INTERIM:
                    self._keep_cookies(connection.origin, response.headers.get_all("Set-Cookie"))
                    return Answer(self, connection, response, url)
        except HTTPException as error:
            connection.close()
            if not connection.received:
                raise _Silent from error
            # What the server says instead may repeat the request, in which there may be secrets.
            raise Transient(f"the answer is not HTTP ({type(error).__name__})") from error
        except ConnectionError as error:
            connection.close()
            if not connection.received:
                raise _Silent from error
            raise
        except BaseException:
            connection.close()
            raise

    def _keep_cookies(self, origin: Origin, cookies: list[str] | None) -> None:
        for each in cookies or ():
            name, is_one, value = each.partition(";")[0].partition("=")
            with self._lock:
                kept = self._cookies.setdefault(origin, {})
                if is_one and len(each) <= _LONGEST_COOKIE and len(kept) < _MOST_COOKIES:
                    kept[name.strip()] = value.strip()

    def _request(self, url: str, origin: Origin, headers: Mapping[str, str]) -> bytes:
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        is_usual = origin.port == {"http": 80, "https": 443}[origin.scheme]
        sent = {
            "User-Agent": "initreg",
            "Accept": "*/*",
            **(self._all if origin == self._origin else self._harmless),
            # A packed answer would have other bytes at an offset.
            "Accept-Encoding": "identity",
            **headers,
            "Host": host if is_usual else f"{host}:{origin.port}",
        }
        if cookies := self._cookies.get(origin):
            with self._lock:
                found = "; ".join(f"{name}={value}" for name, value in cookies.items())
            given = next((k for k in sent if k.lower() == "cookie"), "Cookie")
            sent[given] = f"{sent[given]}; {found}" if given in sent else found
        if parts.username is not None:
            sent["Authorization"] = _basic(unquote(parts.username), unquote(parts.password or ""))
        if _NO_TEXT.search(target) or any(
            _NO_HEADER.search(f"{name}{value}") for name, value in sent.items()
        ):
            raise StoreError("a header or the address has letters that a request may not have")
        lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")

    # --- connections -----------------------------------------------------------------------------

    def _kept(self, origin: Origin) -> _Connection | None:
        while True:
            with self._lock:
                idle = self._idle.get(origin)
                connection = idle.pop() if idle else None
            if connection is None or connection.is_quiet:
                return connection
            connection.close()

    def put_back(self, connection: _Connection, can_stay: bool) -> None:
        """Take a connection back, which is closed if nothing else can be asked over it."""
        if can_stay and connection.is_empty:
            with self._lock:
                idle = self._idle.setdefault(connection.origin, [])
                if len(idle) < _MOST_IDLE:
                    idle.append(connection)
                    return
        connection.close()

    def _connected(self, origin: Origin) -> _Connection:
        try:
            found = socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        except UnicodeError as error:
            raise StoreError("its host has a name that no host can have") from error
        good = self._good.get(origin)
        found.sort(key=lambda each: each[4] != good)
        for each in found:
            family, kind, protocol, _, address = each
            plain = socket.socket(family, kind, protocol)
            try:
                plain.settimeout(CONNECT if each is found[-1] else _NEXT_ADDRESS)
                plain.connect(address)
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                plain.settimeout(CONNECT)
                wrapped = plain
                if origin.scheme == "https":
                    wrapped = tls().wrap_socket(plain, server_hostname=origin.host)
            except OSError as error:
                plain.close()
                if why := getattr(error, "verify_message", ""):
                    text = f"the server's certificate is not valid ({why})"
                    raise StoreError(text) from error
                if each is found[-1]:
                    raise
            else:
                self._good[origin] = address
                return _Connection(wrapped, origin)
        raise OSError(f"{origin.host} has no address")


class _Silent(Exception):
    """A connection was closed before the first byte of an answer."""


class _Connection:
    """A connection, and what was received over it and not taken yet.

    It is what :class:`http.client.HTTPResponse` takes for a socket, and for the file of one.
    """

    def __init__(self, plain: socket.socket, origin: Origin) -> None:
        self.origin = origin
        self.received = False
        self._socket = plain
        self._buffer = b""
        self._at = 0
        self._until = 0.0

    def begin(self, request: bytes) -> None:
        """Send a request. Its answer has to come in time."""
        self._until = time.monotonic() + TOTAL
        self.received = False
        self._socket.settimeout(SILENCE)
        self._socket.sendall(request)

    @property
    def is_empty(self) -> bool:
        """Whether all that was received was taken."""
        return self._at == len(self._buffer)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has come since the last answer: no end, and no answer to nothing."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._socket.close()

    def _receive(self, into: memoryview) -> int:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"the answer took longer than {TOTAL:.0f} seconds")
        self._socket.settimeout(min(left, SILENCE))
        count = self._socket.recv_into(into)
        self.received = self.received or count > 0
        return count

    # --- what HTTPResponse calls -----------------------------------------------------------------

    def makefile(self, _mode: str) -> _File:
        return _File(self)

    def readinto(self, into: memoryview) -> int:
        """Receive bytes. Fewer than it takes only at the end."""
        done = min(len(into), len(self._buffer) - self._at)
        if done:
            into[:done] = memoryview(self._buffer)[self._at : self._at + done]
            self._at += done
        while done < len(into) and (count := self._receive(into[done:])):
            done += count
        return done

    def readline(self, limit: int) -> bytes:
        while True:
            end = self._buffer.find(b"\n", self._at) + 1
            if end or len(self._buffer) - self._at >= limit:
                break
            into = bytearray(_HEAD)
            count = self._receive(memoryview(into))
            if not count:
                end = len(self._buffer)
                break
            self._buffer = self._buffer[self._at :] + into[:count]
            self._at = 0
        start = self._at
        self._at = min(end or len(self._buffer), start + limit)
        return self._buffer[start : self._at]


class _File:
    """What one answer is read from. Its connection stays open when it is closed."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def readinto(self, into: Any) -> int:
        return self._connection.readinto(memoryview(into).cast("B"))

    def read(self, count: int) -> bytes:
        found = bytearray(count)
        return bytes(memoryview(found)[: self._connection.readinto(memoryview(found))])

    def readline(self, limit: int = _BUFFER) -> bytes:
        return self._connection.readline(limit)

    def close(self) -> None:
        return

    flush = close


@functools.cache
def tls() -> Any:
    """How connections are encrypted: as the system says, with the certificates that it trusts."""
    import ssl

    return ssl.create_default_context()


def _basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def _close_all(idle: dict[Origin, list[_Connection]]) -> None:
    for connections in idle.values():
        for each in connections:
            each.close()
    idle.clear()
