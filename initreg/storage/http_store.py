"""Files of a web server, over the HTTP client of fsspec.

fsspec itself does not look at the status of an answer, so that a server that ignores ``Range``
gives the wrong bytes. Here each answer has to be a part, the part that was asked for, and of the
file that was looked at first.

Source of the rules: RFC 9110, sections 8.8 (validators), 13.1.1 (If-Match), 14.4 (Content-Range),
15.3.7 (206), 15.5.13 (412) and 15.5.17 (416).
"""

from __future__ import annotations

import contextlib
import html
import re
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

from initreg.storage.stores import (
    Found,
    NoRanges,
    Replaced,
    StoreError,
    StoreStamp,
    Transient,
    in_this_process,
)

_HEAD = 1 << 14  # bytes that the first request asks for
_SMALL = 1 << 20  # bytes of a file that is taken from a server that sends only whole files
_LONGEST_PAGE = 16 << 20  # bytes of a page that lists a folder
_LINK = re.compile(r"""<a\s[^>]*?href\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.I)
_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})", re.ASCII)
_PAGES = ("text/html", "application/xhtml+xml")
_AS_SPELT = "%/:?#[]@!$&'()*+,;=~"  # what a URL may have. All else is encoded
_LATER = {408, 425, 429}  # statuses below 500 that ask to try again
_CONNECT, _SILENCE, _TOTAL = 15, 60, 300  # seconds


class HttpStore:
    """The files of one server.

    A key is the path of a URL without its leading ``/``, decoded.

    Args:
        fs: fsspec's HTTP file system.
        url: the URL that the user gave.
    """

    concurrency = 16

    def __init__(self, fs: Any, url: str) -> None:
        self.fs = fs
        self._is_forked = False
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

    def url(self, key: str) -> str:
        return self._shown + quote(key, safe="/~!$&'()*+,;=:@", errors="surrogateescape")

    def _address(self, key: str) -> str:
        return self._spelt.get(key) or (
            self._site + quote(key, errors="surrogateescape") + self._query
        )

    def find(self, key: str) -> Found | None:
        if not key or key.endswith("/"):
            return Found(None)
        found: Found | None = self._run(self._find, key)
        return found

    def names(self, key: str) -> list[str]:
        """The names that the page of a folder links to, if the server makes such pages."""
        found: list[str] = self._run(self._names, f"{key.rstrip('/')}/" if key else "")
        return found

    def read(self, key: str, stamp: StoreStamp, offset: int, length: int) -> bytes:
        data: bytes = self._run(self._read, key, stamp, offset, length)
        return data

    def after_fork(self) -> None:
        self._is_forked = True

    def _run(self, call: Any, *arguments: Any) -> Any:
        from aiohttp import InvalidURL, TooManyRedirects
        from fsspec.asyn import sync

        if self._is_forked:  # the threads and connections are the parent's
            self.fs, self._is_forked = in_this_process(self.fs), False
        try:
            return sync(self.fs.loop, call, *arguments)
        except TooManyRedirects as error:
            raise StoreError("the server redirects without end") from error
        except InvalidURL as error:
            raise StoreError("it leads to an address that is not a URL of a web server") from error
        except NotImplementedError as error:
            raise StoreError(
                "it is read inside the event loop of fsspec itself, which would wait for ever. "
                "Call initreg from another thread"
            ) from error

    def _get(self, session: Any, key: str, headers: dict[str, str]) -> Any:
        import aiohttp
        import yarl

        given = dict(self.fs.kwargs)
        # A packed answer would have other bytes at an offset.
        headers = {**given.pop("headers", {}), "Accept-Encoding": "identity", **headers}
        if "timeout" not in given and "timeout" not in self.fs.client_kwargs:
            given["timeout"] = aiohttp.ClientTimeout(
                total=_TOTAL, sock_connect=_CONNECT, sock_read=_SILENCE
            )
        return session.get(yarl.URL(self._address(key), encoded=True), headers=headers, **given)

    async def _find(self, key: str) -> Found | None:
        session = await self.fs.set_session()
        async with self._get(session, key, {"Range": f"bytes=0-{_HEAD - 1}"}) as answer:
            if answer.status in (404, 410):
                return None
            if answer.status == 416 and answer.headers.get("Content-Range", "") == "bytes */0":
                return Found(StoreStamp(0, _version(answer)))
            _check_status(answer)
            if answer.status == 206:
                start, _, size = _part(answer)
                if start != 0:
                    raise Transient("the server sent another part than the one asked for")
                head = await _body(answer, min(size, _HEAD))
                return Found(
                    StoreStamp(size, _version(answer)), head, modified_at=_modified_at(answer)
                )
            body = await _small_body(answer)
            return Found(
                StoreStamp(len(body), _version(answer)), body, modified_at=_modified_at(answer)
            )

    async def _names(self, key: str) -> list[str]:
        session = await self.fs.set_session()
        async with self._get(session, key, {}) as answer:
            if answer.status >= 500 or answer.status in _LATER:
                _check_status(answer)
            if answer.status != 200 or answer.content_type not in _PAGES or _is_packed(answer):
                answer.close()
                raise StoreError("the server does not list it")
            page = await _at_most(answer, _LONGEST_PAGE)
            if len(page) > _LONGEST_PAGE:
                raise StoreError(f"the list is longer than {_LONGEST_PAGE:,} bytes")
            at = str(answer.url)
        return _linked(page.decode("utf-8", "surrogateescape"), at)

    async def _read(self, key: str, stamp: StoreStamp, offset: int, length: int) -> bytes:
        session = await self.fs.set_session()
        headers = {"Range": f"bytes={offset}-{offset + length - 1}"}
        if stamp.version.startswith('"'):  # a weak ETag never matches
            headers["If-Match"] = stamp.version
        async with self._get(session, key, headers) as answer:
            if answer.status in (404, 410, 412, 416):
                raise Replaced(f"status {answer.status}")
            _check_status(answer)
            if answer.status != 206:
                answer.close()
                raise NoRanges("it stopped answering requests for a range of bytes")
            start, stop, size = _part(answer)
            if (size, _version(answer)) != (stamp.size, stamp.version):
                raise Replaced()
            if (start, stop) != (offset, offset + length):
                raise Transient("the server sent another part than the one asked for")
            return await _body(answer, length)


async def _at_most(answer: Any, count: int) -> bytes:
    """The bytes of an answer. More than ``count`` if it has more, whose rest is not read."""
    found = []
    left = count + 1
    while left > 0 and (piece := await answer.content.read(left)):
        found.append(piece)
        left -= len(piece)
    if left <= 0:
        answer.close()  # the connection cannot be used for another request
    return b"".join(found)


async def _body(answer: Any, length: int) -> bytes:
    """The bytes of an answer, which has to have so many."""
    body = await _at_most(answer, length)
    if len(body) > length:
        raise Transient(f"the answer has more than {length:,} bytes")
    if len(body) != length:
        raise Transient(f"the answer ended after {len(body):,} of {length:,} bytes")
    return body


async def _small_body(answer: Any) -> bytes:
    """A whole file, if it is small and if one sees that it is complete."""
    if _is_packed(answer):
        answer.close()
        raise StoreError("the server sends a packed file, although it was asked not to")
    length = answer.content_length
    # Without either, an answer that was cut off looks like one that is complete.
    is_complete = length is not None or "chunked" in answer.headers.get("Transfer-Encoding", "")
    if is_complete and (length is None or length <= _SMALL):
        if length is not None:
            return await _body(answer, length)
        body = await _at_most(answer, _SMALL)
        if len(body) <= _SMALL:
            return body
    answer.close()
    raise NoRanges("it does not answer requests for a range of bytes")


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
    if found is None:
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
    with contextlib.suppress(KeyError):
        return str(answer.headers["ETag"])
    return str(answer.headers.get("Last-Modified", ""))
