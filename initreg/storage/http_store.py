"""Files of a web server.

The options are those of fsspec's file system. fsspec itself does not look at the status of an
answer, so that a server that ignores ``Range`` gives the wrong bytes. Here each answer has to be a
part, the part that was asked for, and of the file that was looked at first.

Source of the rules: RFC 9110, sections 8.8 (validators), 13.1.1 (If-Match), 14.4 (Content-Range),
15.3.7 (206), 15.5.13 (412) and 15.5.17 (416).
"""

from __future__ import annotations

import contextlib
import html
import re
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

from initreg.storage.http_client import Answer, HttpClient, Origin
from initreg.storage.http_session import HttpSession, SessionAnswer
from initreg.storage.stores import (
    Found,
    NoRanges,
    Replaced,
    StoreError,
    StoreStamp,
    Transient,
)

_HEAD = 1 << 14  # bytes that the first request asks for
_SMALL = 1 << 20  # bytes of a file that is taken from a server that sends only whole files
_LONGEST_PAGE = 16 << 20  # bytes of a page that lists a folder
_LINK = re.compile(r"""<a\s[^>]*?href\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.I)
_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})", re.ASCII | re.I)
_PAGES = ("text/html", "application/xhtml+xml")
_AS_SPELT = "%/:?#[]@!$&'()*+,;=~"  # what a URL may have. All else is encoded
_LATER = {408, 425, 429}  # statuses below 500 that ask to try again
# What an address may answer that was good for a time. Google's storage answers 400.
_EXPIRED = {400, 401, 403, 404, 410}

AnyAnswer = Answer | SessionAnswer


class HttpStore:
    """The files of one server.

    A key is the path of a URL without its leading ``/``, decoded.

    Args:
        fs: fsspec's HTTP file system.
        url: the URL that the user gave.
    """

    concurrency = 16

    def __init__(self, fs: Any, url: str) -> None:
        parts = urlsplit(url)
        _ = parts.port  # a ValueError, if it is not a number
        host = parts.netloc.rpartition("@")[2]
        self._site = f"{parts.scheme}://{parts.netloc}/"
        self._shown = f"{parts.scheme}://{host}/"
        # Bytes that are not UTF-8 stay what they are.
        self.key = unquote(parts.path.removeprefix("/"), errors="surrogateescape")
        # As the user spelt it. The server may tell "%20" from "+", or a signature may be of it.
        self._spelt = {self.key: quote(url.partition("#")[0], safe=_AS_SPELT)}
        self._query = f"?{quote(parts.query, safe=_AS_SPELT)}" if parts.query else ""
        self._led_to: dict[str, str] = {}  # where a server led to, which may be a secret
        self._client = _client_for(fs, self._site)
        self._can_remember = isinstance(self._client, HttpClient)

    def url(self, key: str) -> str:
        return self._shown + quote(key, safe="/~!$&'()*+,;=:@", errors="surrogateescape")

    def _address(self, key: str) -> str:
        return self._spelt.get(key) or (
            self._site + quote(key, errors="surrogateescape") + self._query
        )

    def find(self, key: str) -> Found | None:
        if not key or key.endswith("/"):
            return Found(None)
        with self._asked(key, {"Range": f"bytes=0-{_HEAD - 1}"}) as answer:
            if answer.status in (404, 410):
                return None
            if answer.status == 416 and answer.headers.get("Content-Range", "") == "bytes */0":
                return Found(StoreStamp(0, _version(answer)))
            _check_status(answer)
            if answer.status == 206:
                start, stop, size = _part(answer)
                if start != 0 or not 0 < stop <= min(size, _HEAD):
                    raise Transient("the server sent another part than the one asked for")
                found = bytearray(stop)  # it may be a shorter part
                _fill(answer, memoryview(found))
                head = bytes(found)
            else:
                head = _small_body(answer)
                size = len(head)
            stamp = StoreStamp(size, _version(answer))
            return Found(stamp, head, modified_at=_modified_at(answer))

    def names(self, key: str) -> list[str]:
        """The names that the page of a folder links to, if the server makes such pages."""
        with self._asked(f"{key.rstrip('/')}/" if key else "", {}) as answer:
            if answer.status >= 500 or answer.status in _LATER:
                _check_status(answer)
            kind = str(answer.headers.get("Content-Type", "")).partition(";")[0].strip().lower()
            if answer.status != 200 or kind not in _PAGES or _is_packed(answer):
                raise StoreError("the server does not list it")
            page = answer.read(_LONGEST_PAGE + 1)
            if len(page) > _LONGEST_PAGE:
                raise StoreError(f"the list is longer than {_LONGEST_PAGE:,} bytes")
            at = answer.url
        return _linked(page.decode("utf-8", "surrogateescape"), at)

    def read(self, key: str, stamp: StoreStamp, offset: int, length: int) -> bytes:
        into = bytearray(length)
        self.read_into(key, stamp, offset, memoryview(into))
        return bytes(into)

    def read_into(self, key: str, stamp: StoreStamp, offset: int, into: memoryview) -> None:
        while len(into):
            count = self._read_part(key, stamp, offset, into)
            offset, into = offset + count, into[count:]

    def _read_part(self, key: str, stamp: StoreStamp, offset: int, into: memoryview) -> int:
        """Read what a server sends, which may be the first part of what it was asked for only."""
        headers = {"Range": f"bytes={offset}-{offset + len(into) - 1}"}
        if stamp.version.startswith('"'):  # a weak ETag never matches
            headers["If-Match"] = stamp.version
        with self._asked(key, headers) as answer:
            if answer.status in (404, 410, 412, 416):
                raise Replaced(f"status {answer.status}")
            _check_status(answer)
            if answer.status != 206:
                raise NoRanges("it stopped answering requests for a range of bytes")
            start, stop, size = _part(answer)
            if (size, _version(answer)) != (stamp.size, stamp.version):
                raise Replaced()
            if start != offset or not 0 < stop - start <= len(into):
                raise Transient("the server sent another part than the one asked for")
            _fill(answer, into[: stop - start])
            return stop - start

    def after_fork(self) -> None:
        self._client.after_fork()

    @contextlib.contextmanager
    def _asked(self, key: str, headers: dict[str, str]) -> Iterator[AnyAnswer]:
        """The answer of where a key is now.

        A server may lead to another address, for instance to one that is signed and good for some
        minutes. It is asked as long as it answers well, and then the first one is asked again.
        """
        known = self._led_to.get(key)
        if known is not None:
            try:
                with self._client.get(known, headers) as answer:
                    if answer.status not in _EXPIRED:
                        yield answer
                        return
            except StoreError:
                raise
            except Exception:
                self._led_to.pop(key, None)
                raise
            self._led_to.pop(key, None)
        first = self._address(key)
        with self._client.get(first, headers) as answer:
            if answer.url != first and answer.status in (200, 206) and self._can_remember:
                self._led_to[key] = answer.url
            yield answer


def _fill(answer: AnyAnswer, into: memoryview) -> None:
    """Take the bytes of an answer into memory, which has to be as large."""
    count = answer.fill(into)
    if count != len(into):
        raise Transient(f"the answer ended after {count:,} of {len(into):,} bytes")
    if answer.read(1):
        raise Transient(f"the answer has more than {len(into):,} bytes")


def _small_body(answer: AnyAnswer) -> bytes:
    """A whole file, if it is small and if one sees that it is complete."""
    if _is_packed(answer):
        raise StoreError("the server sends a packed file, although it was asked not to")
    length = str(answer.headers.get("Content-Length", ""))
    # Without either, an answer that was cut off looks like one that is complete.
    if "chunked" in answer.headers.get("Transfer-Encoding", "").lower():
        body = answer.read(_SMALL + 1)
        if len(body) <= _SMALL:
            return body
    elif re.fullmatch(r"\d{1,9}", length, re.ASCII) and int(length) <= _SMALL:
        into = bytearray(int(length))
        _fill(answer, memoryview(into))
        return bytes(into)
    raise NoRanges("it does not answer requests for a range of bytes")


def _client_for(fs: Any, site: str) -> HttpClient | HttpSession:
    """What asks the server: a client of our own, if it knows all options that the user gave."""
    from fsspec.implementations import http

    of_request, of_session = dict(fs.kwargs), dict(fs.client_kwargs)
    headers = {**(of_session.pop("headers", None) or {}), **(of_request.pop("headers", None) or {})}
    of_both = (of_request.pop("auth", None), of_session.pop("auth", None))
    auth = next((each for each in of_both if each is not None), None)
    if (
        type(fs) is http.HTTPFileSystem
        and fs.get_client is http.get_client
        and not of_request
        and not of_session
        and all(isinstance(each, str) for pair in headers.items() for each in pair)
        and (auth is None or isinstance(auth, tuple))  # as aiohttp.BasicAuth is
    ):
        return HttpClient(headers, auth and auth[:2], Origin.of(site))
    return HttpSession(fs)


def _linked(page: str, at: str) -> list[str]:
    """The names of a folder that its page links to, whatever else it links to.

    Args:
        page: the page, in HTML.
        at: its address.
    """
    folder = unquote(urlsplit(at).path, errors="surrogateescape")
    found = set()
    for groups in _LINK.findall(page):
        try:
            path = urlsplit(urljoin(at, html.unescape("".join(groups)))).path.rstrip("/")
        except ValueError:
            continue
        parent, _, last = path.rpartition("/")
        name = unquote(last, errors="surrogateescape")
        is_here = unquote(parent, errors="surrogateescape") + "/" == folder
        if is_here and name not in ("", ".", "..") and not set(name) & {"/", "\0"}:
            found.add(name)
    return sorted(found)


def _check_status(answer: Any) -> None:
    """Raise StoreError or Transient for an answer without the file, or with a changed one."""
    if answer.status in (200, 206):
        return
    text = f"the server answers {answer.status} {answer.reason or ''}".rstrip()
    if answer.status >= 500 or answer.status in _LATER:
        raise Transient(text)
    if answer.status in (401, 403, 407):
        raise StoreError(f"{text}. Are the credentials right?")
    raise StoreError(text)


def _is_packed(answer: Any) -> bool:
    return str(answer.headers.get("Content-Encoding", "identity")).lower() != "identity"


def _part(answer: Any) -> tuple[int, int, int]:
    """Where the part begins and ends that was sent, and how large the file is."""
    found = _RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
    if found is None or "multipart" in answer.headers.get("Content-Type", "").lower():
        raise StoreError("the server does not say which part of the file it sends")
    if _is_packed(answer):
        raise StoreError("the server sends a packed part, although it was asked not to")
    return int(found[1]), int(found[2]) + 1, int(found[3])


def _modified_at(answer: Any) -> float:
    """When the file was written, in seconds since the epoch. 0 if the server does not say."""
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        return parsedate_to_datetime(answer.headers.get("Last-Modified")).timestamp()
    return 0.0


def _version(answer: Any) -> str:
    """The validator of an answer: its ETag, or else the time of the last change."""
    return str(answer.headers.get("ETag") or answer.headers.get("Last-Modified") or "")
