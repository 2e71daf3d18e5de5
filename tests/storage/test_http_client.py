"""Asking web servers: redirects, credentials, and connections that are kept."""

from __future__ import annotations

import base64
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import DamagedFile, UnreadableFile
from initreg.storage import http_client
from initreg.storage.stores import StoreError
from tests.storage.raw_server import Answer, RawServer, Request, answering, part, response
from tests.storage.web_server import WebServer

rng = np.random.default_rng(0)
ARRAYS = {f"layer_{i}/kernel": rng.normal(size=(40, 25)).astype("f4") for i in range(20)}
ARRAYS["large"] = rng.normal(size=(1300, 1000)).astype("f4")
CERTIFICATE = Path(__file__).with_name("loopback.pem")
# An option that only the session of fsspec knows. Without it, a client of our own asks.
SESSION: dict[str, Any] = {"client_kwargs": {"trust_env": False}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    initreg.save(path, ARRAYS)
    return path.read_bytes()


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def check(found: dict[str, Any]) -> None:
    assert found.keys() == ARRAYS.keys()
    for name, array in found.items():
        assert np.array_equal(array, ARRAYS[name]), name


def leading(servers: ExitStack, to: RawServer, status: str = "302 Found") -> RawServer:
    """A server that leads to another one, each time with another signature."""

    def lead(request: Request) -> bytes:
        where = f"{to.url}signed?signature=SECRET{request.number}"
        return response(status, {"Location": where})

    return servers.enter_context(answering(lead))


STATUSES = (
    "301 Moved Permanently",
    "302 Found",
    "303 See Other",
    "307 Temporary Redirect",
    "308 Permanent Redirect",
)


@pytest.mark.parametrize("status", STATUSES)
def test_a_redirect_is_followed_once(status: str, data: bytes, servers: ExitStack) -> None:
    """All ranges are asked for where the first request was led to."""
    store = servers.enter_context(answering(lambda request: part(data, request)))
    first = leading(servers, store, status)
    check(initreg.load(f"{first.url}m.safetensors"))
    assert len(first.requests) == 1
    assert len(store.requests) > 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_signature_that_expires_is_renewed(status: int, data: bytes, servers: ExitStack) -> None:
    """When an address is not good any more, the first one is asked again for a new one."""

    def answer(request: Request) -> bytes:
        if request.path.endswith("SECRET0") and request.number > 1:
            return response(f"{status} Expired", {})
        return part(data, request)

    store = servers.enter_context(answering(answer))
    first = leading(servers, store)
    check(initreg.load(f"{first.url}m.safetensors"))
    assert len(first.requests) > 1
    assert {request.path for request in store.requests} > {"/signed?signature=SECRET0"}


def test_a_signature_that_cannot_be_renewed(data: bytes, servers: ExitStack) -> None:
    """It is one error, which shows no signature."""

    def answer(request: Request) -> bytes:
        if request.number > 1:
            return response("403 Forbidden", {})
        return part(data, request)

    first = leading(servers, servers.enter_context(answering(answer)))
    with pytest.raises(UnreadableFile, match="the server answers 403") as caught:
        initreg.load(f"{first.url}m.safetensors")
    assert "SECRET" not in str(caught.value)


def test_a_mirror_that_dies_is_left(data: bytes, servers: ExitStack) -> None:
    """If the address that was led to does not answer, the first one is asked again."""
    dying = servers.enter_context(
        answering(lambda request: part(data, request) if request.number < 2 else b"")
    )
    living = servers.enter_context(answering(lambda request: part(data, request)))

    def lead(request: Request) -> bytes:
        where = dying.url if request.number == 0 else living.url
        return response("302 Found", {"Location": f"{where}m"})

    first = servers.enter_context(answering(lead))
    check(initreg.load(f"{first.url}m.safetensors"))
    assert living.requests


def test_a_redirect_to_another_file_midway(data: bytes, servers: ExitStack) -> None:
    """A renewed address that has another version is noticed, also if the size is the same."""
    good = servers.enter_context(
        answering(
            lambda request: (
                part(data, request) if request.number < 2 else response("403 Forbidden", {})
            )
        )
    )
    other = servers.enter_context(
        answering(lambda request: part(data[:-4] + b"1234", request, ETag='"2"'))
    )

    def lead(request: Request) -> bytes:
        where = good.url if request.number == 0 else other.url
        return response("302 Found", {"Location": f"{where}m"})

    first = servers.enter_context(answering(lead))
    with pytest.raises(DamagedFile, match="was replaced or written to"):
        initreg.load(f"{first.url}m.safetensors")


def _auth() -> Any:
    import aiohttp

    return aiohttp.BasicAuth("user", "SECRET")


CREDENTIALS: dict[str, tuple[str, Any]] = {
    "a header": ("", lambda: {"headers": {"Authorization": "Bearer SECRET"}}),
    "a header of one's own": ("", lambda: {"headers": {"X-Token": "SECRET"}}),
    "a cookie": ("", lambda: {"headers": {"Cookie": "session=SECRET"}}),
    "a header of the session": (
        "",
        lambda: {"client_kwargs": {"headers": {"Authorization": "Bearer SECRET"}}},
    ),
    "a password": ("", lambda: {"auth": _auth()}),
    "a password of the session": ("", lambda: {"client_kwargs": {"auth": _auth()}}),
    "a password in the URL": ("user:SECRET@", dict),
}
_SHOWN = ("SECRET", base64.b64encode(b"user:SECRET").decode())


# As people write it. aiohttp wants them to write a header from now on.
@pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning")
@pytest.mark.parametrize("kind", CREDENTIALS)
def test_credentials_stay_with_their_host(kind: str, data: bytes, servers: ExitStack) -> None:
    """Who was meant gets them with each request, and nobody else ever does."""
    user, make = CREDENTIALS[kind]
    other = servers.enter_context(answering(lambda request: part(data, request)))

    def answer(request: Request) -> bytes:
        if request.path == "/away":
            return response("302 Found", {"Location": f"{other.url}m"})
        if request.path == "/back":
            return response("302 Found", {"Location": "/m"})
        return part(data, request)

    first = servers.enter_context(answering(answer))
    options = make()
    options.setdefault("headers", {})["User-Agent"] = "mine"
    site = first.url.replace("http://", f"http://{user}")
    for name in ("away", "back", "m"):
        check(initreg.load(site + name, format="safetensors", storage_options=options))
    for request in first.requests:
        assert any(each in request.headers for each in _SHOWN), request.headers
    assert len(other.requests) > 3
    for request in other.requests:
        assert not any(each in request.headers for each in _SHOWN), request.headers
    assert all("User-Agent: mine" in each.headers for each in first.requests + other.requests)


def test_a_cookie_goes_back_to_its_host(data: bytes, servers: ExitStack) -> None:
    """A server that asks for its own cookie gets it, and another server does not."""
    other = servers.enter_context(answering(lambda request: part(data, request)))

    def answer(request: Request) -> bytes:
        if "Cookie: key=SECRET" not in request.headers:
            cookie = "key=SECRET; Path=/; HttpOnly"
            return response("302 Found", {"Location": request.path, "Set-Cookie": cookie})
        return response("307 Temporary Redirect", {"Location": f"{other.url}m"})

    first = servers.enter_context(answering(answer))
    check(initreg.load(f"{first.url}m.safetensors"))
    assert not any("SECRET" in request.headers for request in other.requests)


# --- connections ----------------------------------------------------------------------------------


def test_connections_are_kept(tmp_path: Path, web: WebServer) -> None:
    """Arrays that are read one after the other come over one connection."""
    initreg.save(tmp_path / "m.safetensors", ARRAYS)
    with initreg.open(f"{web.url}m.safetensors") as arrays:
        for name, array in ARRAYS.items():
            if name != "large":
                assert np.array_equal(arrays[name], array)
    assert len(web.requests) > 15
    assert web.connections == 1


def test_no_more_connections_than_requests_at_once(tmp_path: Path, web: WebServer) -> None:
    """What is read by several threads needs no more connections than threads."""
    initreg.save(tmp_path / "m.npz", {f"{i}": np.full(25_000, i, "f4") for i in range(90)})
    found = initreg.load(f"{web.url}m.npz")
    assert all(np.array_equal(array, np.full(25_000, int(n), "f4")) for n, array in found.items())
    assert web.connections <= 64


def test_an_answer_to_nothing_is_not_taken(data: bytes) -> None:
    """What a server sends beyond its answer is not the answer to the next request."""

    def answer(request: Request) -> bytes:
        wrong = bytes(len(data) - 100) + bytes(range(100))
        return part(data, request) + part(wrong, request)

    with answering(answer, stays=True) as server:
        check(initreg.load(f"{server.url}m.safetensors"))
        assert server.connections == len(server.requests)


def test_a_connection_that_ends_when_it_is_used(data: bytes) -> None:
    """A server that hangs up instead of a second answer is asked again over a new connection."""
    served: set[int] = set()

    def answer(request: Request) -> bytes | Iterator[bytes]:
        if request.connection in served:
            return hang_up()
        served.add(request.connection)
        return part(data, request)

    def hang_up() -> Iterator[bytes]:
        raise ConnectionAbortedError
        yield b""

    with (
        answering(answer, stays=True) as server,
        initreg.open(f"{server.url}m.safetensors") as arrays,
    ):
        for i in range(20):
            name = f"layer_{i}/kernel"
            assert np.array_equal(arrays[name], ARRAYS[name])


def _early(data: bytes, request: Request) -> bytes:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"
    return b"HTTP/1.1 100 Continue\r\n\r\n" + hints + part(data, request)


def _shorter(data: bytes, request: Request) -> bytes:
    stop = min(request.stop, request.start + 300_000 if request.start else 5000)
    return part(data, Request(request.path, request.start, stop, 0))


def _other_unit(data: bytes, request: Request) -> bytes:
    where = f"Bytes {request.start}-{min(request.stop, len(data)) - 1}/{len(data)}"
    return part(data, request, Content_Range=where)


def _trailers(data: bytes, request: Request) -> bytes:
    body = data[request.start : request.stop]
    where = f"bytes {request.start}-{request.start + len(body) - 1}/{len(data)}"
    headers = {"ETag": '"1"', "Content-Range": where, "Transfer-Encoding": "chunked"}
    chunk = b"%x;name=value\r\n%b\r\n0\r\nX-Sum: 1\r\n\r\n" % (len(body), body)
    return response("206 Partial Content", headers, chunk, sized=False)


@pytest.mark.parametrize("options", [{}, SESSION])
@pytest.mark.parametrize("unusual", [_early, _shorter, _other_unit, _trailers])
@pytest.mark.parametrize("stays", [True, False])
def test_what_the_standard_allows(
    unusual: Any, stays: bool, options: dict[str, Any], data: bytes
) -> None:
    """Interim answers, shorter parts, units in capitals, and chunks with extensions."""
    with answering(lambda request: unusual(data, request), stays) as server:
        check(initreg.load(f"{server.url}m.safetensors", storage_options=options))


def test_only_get_is_asked(data: bytes) -> None:
    """A server that refuses HEAD is as good as any."""

    def answer(request: Request) -> bytes:
        if not request.headers.startswith("GET "):
            return response("405 Method Not Allowed", {})
        return part(data, request)

    with answering(answer) as server:
        check(initreg.load(f"{server.url}m.safetensors"))


def _dripping(data: bytes) -> Answer:
    def answer(request: Request) -> bytes | Iterator[bytes]:
        if request.number == 0:
            return part(data, request)
        return drip(part(data, request))

    def drip(text: bytes) -> Iterator[bytes]:
        for at in range(len(text)):
            yield text[at : at + 1]
            time.sleep(0.02)

    return answer


@pytest.mark.parametrize("limit", ["TOTAL", "SILENCE"])
def test_a_slow_drip_ends(limit: str, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer of which a byte comes now and then is an error in the end, not a hang."""
    monkeypatch.setattr(f"initreg.storage.http_client.{limit}", 0.3 if limit == "TOTAL" else 0.005)
    monkeypatch.setattr("initreg.storage.store_files.TRIES", 2)
    with (
        answering(_dripping(data)) as server,
        pytest.raises(UnreadableFile, match=r"2 times: TimeoutError"),
    ):
        initreg.load(f"{server.url}m.safetensors")


def test_headers_without_end(data: bytes) -> None:
    """An answer that never gets to its body is an error, and is not kept in memory."""

    def endless(_: Request) -> Iterator[bytes]:
        yield b"HTTP/1.1 206 Partial Content\r\n"
        while True:
            yield b"X-Header: 1\r\n" * 1000

    def long(_: Request) -> Iterator[bytes]:
        yield b"HTTP/1.1 206 "
        while True:
            yield b"x" * 65536

    for answer in (endless, long):
        with (
            answering(answer) as server,
            pytest.raises(UnreadableFile, match=r"5 times: .*is not HTTP"),
        ):
            initreg.load(f"{server.url}m.safetensors")
        assert server.sent < 100 << 20


@pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a\nb", "a\0b"])
def test_a_header_cannot_hold_another(value: str, data: bytes) -> None:
    """A line break in an option is an error, not a second header."""
    with (
        answering(lambda request: part(data, request)) as server,
        pytest.raises(UnreadableFile, match="letters that a request may not have"),
    ):
        initreg.load(f"{server.url}m", storage_options={"headers": {"X-Name": value}})
    assert not server.requests


@pytest.mark.parametrize(
    "where", ["gopher://x/m", "http://", "http://a b/", "http://[::1/", "//", "http://x:99999/"]
)
def test_redirects_to_nowhere(where: str) -> None:
    """An address that is none is an error at once."""
    with (
        answering(lambda _: response("302 Found", {"Location": where})) as server,
        pytest.raises(UnreadableFile, match=r"not a URL of a web server|redirects without end"),
    ):
        initreg.load(f"{server.url}m.safetensors")
    assert len(server.requests) <= 11


@pytest.fixture
def encrypted(data: bytes) -> Iterator[str]:
    """The address of a server on loopback, whose certificate nobody else signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    with answering(lambda request: part(data, request), stays=True, tls=context) as server:
        yield server.url


def test_encrypted_connections(encrypted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that the system trusts is good, and its name has to be that of the host."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    http_client.tls.cache_clear()
    try:
        check(initreg.load(f"{encrypted}m.safetensors"))
        with pytest.raises(UnreadableFile, match=r"127\.1:.*certificate is not valid"):
            initreg.load(encrypted.replace("127.0.0.1", "127.1") + "m.safetensors")
    finally:
        http_client.tls.cache_clear()


def test_a_certificate_that_nobody_signed(encrypted: str) -> None:
    """It is one error, and nothing is sent."""
    with pytest.raises(UnreadableFile, match=r"certificate.*self-signed"):
        initreg.load(f"{encrypted}m.safetensors?key=SECRET")


def test_no_url_at_all() -> None:
    """Only web servers are asked."""
    from initreg.storage.http_client import HttpClient, Origin

    client = HttpClient({}, None, Origin("http", "x", 80))
    for url in ("file:///etc/passwd", "http://", "http://x:y/", "http://\x01/"):
        with pytest.raises(StoreError, match="not a URL of a web server"):
            client.get(url, {})
