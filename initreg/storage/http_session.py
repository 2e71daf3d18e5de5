"""Asking web servers over the session of fsspec, for options that only aiohttp knows.

These are a proxy, certificates of the user's own, time limits, or a client that the user makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from initreg.storage.http_client import CONNECT, SILENCE, TOTAL
from initreg.storage.stores import StoreError, Transient, in_this_process

_BUFFER = 1 << 18  # bytes that may arrive before they are taken. In measurements, twice as fast


class SessionAnswer:
    """As :class:`initreg.storage.http_client.Answer`."""

    def __init__(self, loop: Any, answer: Any) -> None:
        self._loop = loop
        self._answer = answer
        self.url = str(answer.url)
        self.status: int = answer.status
        self.reason: str = answer.reason or ""
        self.headers: Any = answer.headers

    def __enter__(self) -> SessionAnswer:
        return self

    def __exit__(self, *_: object) -> None:
        from fsspec.asyn import sync

        sync(self._loop, self._end)

    async def _end(self) -> None:
        if self._answer.content.at_eof():
            self._answer.release()
        else:
            self._answer.close()  # the connection cannot be used for another request

    def read(self, most: int) -> bytes:
        found = bytearray(most)
        return bytes(memoryview(found)[: self.fill(memoryview(found))])

    def fill(self, into: memoryview) -> int:
        from aiohttp import ClientPayloadError
        from fsspec.asyn import sync

        try:
            count: int = sync(self._loop, self._fill, into)
        except ClientPayloadError as error:
            raise Transient("the answer ended too early") from error
        return count

    async def _fill(self, into: memoryview) -> int:
        at = 0
        while at < len(into) and (piece := await self._answer.content.read(len(into) - at)):
            into[at : at + len(piece)] = piece
            at += len(piece)
        return at


class HttpSession:
    """fsspec's HTTP file system, which makes the session.

    It follows redirects each time: a session that has credentials of its own may send them to
    whatever address it is given, so that it is given the one of the user only.
    """

    def __init__(self, fs: Any) -> None:
        self._fs = fs
        self._is_forked = False

    def after_fork(self) -> None:
        self._is_forked = True

    def get(self, url: str, headers: Mapping[str, str]) -> SessionAnswer:
        """As :meth:`initreg.storage.http_client.HttpClient.get`."""
        from aiohttp import ClientResponseError, InvalidURL, TooManyRedirects
        from fsspec.asyn import sync

        if self._is_forked:  # the threads and connections are the parent's
            self._fs, self._is_forked = in_this_process(self._fs), False
        try:
            return SessionAnswer(self._fs.loop, sync(self._fs.loop, self._get, url, headers))
        except TooManyRedirects as error:
            raise StoreError("the server redirects without end") from error
        except InvalidURL as error:
            raise StoreError("it leads to an address that is not a URL of a web server") from error
        except ClientResponseError as error:
            # What the server says instead may repeat the request, in which there may be secrets.
            raise Transient(f"the answer is not HTTP ({type(error).__name__})") from error
        except NotImplementedError as error:
            raise StoreError(
                "it is read inside the event loop of fsspec itself, which would wait for ever. "
                "Call initreg from another thread"
            ) from error

    async def _get(self, url: str, headers: Mapping[str, str]) -> Any:
        import aiohttp
        import yarl

        session = await self._fs.set_session()
        given = dict(self._fs.kwargs)
        # A packed answer would have other bytes at an offset.
        headers = {**given.pop("headers", {}), "Accept-Encoding": "identity", **headers}
        if "timeout" not in given and "timeout" not in self._fs.client_kwargs:
            given["timeout"] = aiohttp.ClientTimeout(
                total=TOTAL, sock_connect=CONNECT, sock_read=SILENCE
            )
        return await session.get(
            yarl.URL(url, encoded=True), headers=headers, read_bufsize=_BUFFER, **given
        )
