"""Files of a web server, over the HTTP client of fsspec.

fsspec itself does not look at the status of an answer, so that a server that ignores ``Range``
gives the wrong bytes. Here each answer has to be a part, the part that was asked for, and of the
file that was looked at first.

Source of the rules: RFC 9110, sections 8.8 (validators), 13.1.1 (If-Match), 14.4 (Content-Range),
15.3.7 (206), 15.5.13 (412) and 15.5.17 (416).
"""

from __future__ import annotations

import contextlib
import re
from typing import Any
from urllib.parse import quote, unquote, urlsplit

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
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_EMPTY = re.compile(r"bytes \*/(\d+)")
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
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        self._site = f"{parts.scheme}://{parts.netloc}/"
        self._shown = f"{parts.scheme}://{host}/"
        self.key = unquote(parts.path.removeprefix("/"))
        # As the user spelt it. The server may tell "%20" from "+", or a signature may be of it.
        self._spelt = {self.key: url.partition("#")[0]}
        self._query = f"?{parts.query}" if parts.query else ""

    def url(self, key: str) -> str:
        return self._shown + quote(key, safe="/~!$&'()*+,;=:@")

    def _address(self, key: str) -> str:
        return self._spelt.get(key) or self._site + quote(key) + self._query

    def find(self, key: str) -> Found | None:
        if not key or key.endswith("/"):
            return Found(None)
        found: Found | None = self._run(self._find, key)
        return found

    def names(self, key: str) -> list[str]:
        """The names that the page of a folder links to, if the server makes such pages."""
        try:
            found = self.fs.ls(self._site + quote(key.rstrip("/")) + "/", detail=False)
        except FileNotFoundError as error:
            raise StoreError("there is no such folder") from error
        except Exception as error:
            raise StoreError("the server does not list it") from error
        names = {unquote(urlsplit(each).path.rstrip("/").rpartition("/")[2]) for each in found}
        return [name for name in names if name and name not in (".", "..")]

    def read(self, key: str, stamp: StoreStamp, offset: int, length: int) -> bytes:
        data: bytes = self._run(self._read, key, stamp, offset, length)
        return data

    def _run(self, call: Any, *arguments: Any) -> Any:
        from fsspec.asyn import sync

        return sync(self.fs.loop, call, *arguments)

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
            if answer.status == 416 and _EMPTY.fullmatch(answer.headers.get("Content-Range", "")):
                return Found(StoreStamp(0, _version(answer)))
            _check_status(answer)
            if answer.status == 206:
                start, _, size = _part(answer)
                if start != 0:
                    raise Transient("the server sent another part than the one asked for")
                head = await answer.read()
                if len(head) != min(size, _HEAD):
                    raise Transient(f"the answer ended after {len(head):,} bytes")
                return Found(StoreStamp(size, _version(answer)), head)
            length = answer.content_length
            if length is None or length > _SMALL:
                answer.close()
                raise NoRanges("it does not answer requests for a range of bytes")
            body = await answer.read()
            if len(body) != length:
                raise Transient(f"the answer ended after {len(body):,} of {length:,} bytes")
            return Found(StoreStamp(length, _version(answer)), body)

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
            body: bytes = await answer.read()
            if len(body) != length:
                raise Transient(f"the answer ended after {len(body):,} of {length:,} bytes")
            return body


def _check_status(answer: Any) -> None:
    """Raise StoreError or Transient for an answer that is not one of success."""
    if 200 <= answer.status < 300:
        return
    text = f"the server answers {answer.status} {answer.reason or ''}".rstrip()
    if answer.status >= 500 or answer.status in _LATER:
        raise Transient(text)
    if answer.status in (401, 403, 407):
        raise StoreError(f"{text}. Are the credentials right?")
    raise StoreError(text)


def _part(answer: Any) -> tuple[int, int, int]:
    """Where the part begins and ends that was sent, and how large the file is."""
    found = _RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
    if found is None:
        raise StoreError("the server does not say which part of the file it sends")
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise StoreError("the server sends a packed part, although it was asked not to")
    return int(found[1]), int(found[2]) + 1, int(found[3])


def _version(answer: Any) -> str:
    """The validator of an answer: its ETag, or else the time of the last change."""
    with contextlib.suppress(KeyError):
        return str(answer.headers["ETag"])
    return str(answer.headers.get("Last-Modified", ""))
