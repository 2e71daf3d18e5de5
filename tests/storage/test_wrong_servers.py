"""Servers that answer wrongly: right values or one error, with bounds on time and memory."""

from __future__ import annotations

import gzip
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import DamagedFile, InitregError, SourceNotFound, UnreadableFile
from tests.storage.raw_server import Answer, Request, answering, chunked, part, response
from tests.storage.web_server import WebServer

rng = np.random.default_rng(0)
ARRAYS = {f"layer_{i}/kernel": rng.normal(size=(40, 25)).astype("f4") for i in range(20)}
ARRAYS["large"] = rng.normal(size=(1300, 1000)).astype("f4")


# Who asks: a client of our own, or the session of fsspec, if there is an option that only it knows.
CLIENTS: list[dict[str, Any]] = [{}, {"client_kwargs": {"trust_env": False}}]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    initreg.save(path, ARRAYS)
    return path.read_bytes()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    initreg.save(path, {"layer_0/kernel": ARRAYS["layer_0/kernel"]})
    return path.read_bytes()


def check(found: dict[str, Any]) -> None:
    assert found
    for name, array in found.items():
        assert np.array_equal(array, ARRAYS[name]), name


def _in_chunks(data: bytes, request: Request) -> bytes:
    body = data[request.start : request.stop]
    where = f"bytes {request.start}-{request.start + len(body) - 1}/{len(data)}"
    headers = {"ETag": '"1"', "Content-Range": where, "Transfer-Encoding": "chunked"}
    return response("206 Partial Content", headers, chunked(body), sized=False)


def _without_length(data: bytes, request: Request) -> bytes:
    body = data[request.start : request.stop]
    where = f"bytes {request.start}-{request.start + len(body) - 1}/{len(data)}"
    headers = {"ETag": '"1"', "Content-Range": where}
    return response("206 Partial Content", headers, body, "1.0", sized=False)


def _redirected(data: bytes, request: Request) -> bytes:
    if request.path.startswith("/m."):
        return response("302 Found", {"Location": "/elsewhere?signature=SECRET"})
    return part(data, request)


UNUSUAL: dict[str, Callable[[bytes, Request], bytes]] = {
    "closed without a word": part,
    "closed": lambda data, request: part(data, request, Connection="close"),
    "HTTP/1.0 without a length": _without_length,
    "in chunks": _in_chunks,
    "a weak ETag": lambda data, request: part(data, request, ETag='W/"1"'),
    "redirected each time": _redirected,
}


@pytest.mark.parametrize("options", CLIENTS)
@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_servers(name: str, options: dict[str, Any], data: bytes) -> None:
    """What the standard allows gives the right values."""
    with answering(lambda request: UNUSUAL[name](data, request)) as server:
        found = initreg.load(f"{server.url}m.safetensors", storage_options=options)
    assert found.keys() == ARRAYS.keys()
    check(found)


def test_a_small_file_in_chunks(small: bytes) -> None:
    """A server that knows neither ranges nor lengths is good enough for a small file."""
    headers = {"Transfer-Encoding": "chunked"}
    answer = response("200 OK", headers, chunked(small), sized=False)
    with answering(lambda _: answer) as server:
        check(initreg.load(f"{server.url}m.safetensors"))
    assert len(server.requests) == 1
    cut = answer[: len(answer) // 2]
    with answering(lambda _: cut) as server, pytest.raises(UnreadableFile, match="5 times"):
        initreg.load(f"{server.url}m.safetensors")


def _of(status: str, **headers: str) -> Callable[[bytes], Answer]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda data: lambda _: response(status, named, data[:3000])


def _with(**headers: str) -> Callable[[bytes], Answer]:
    return lambda data: lambda request: part(data, request, **headers)


# What the server answers, and what the error says. "5 times" is said of what may pass.
WRONG: dict[str, tuple[Callable[[bytes], Answer], str]] = {
    "a packed part": (_with(Content_Encoding="gzip"), "packed part"),
    "a packed file": (
        lambda data: (
            lambda _: response("200 OK", {"Content-Encoding": "gzip"}, gzip.compress(data[:3000]))
        ),
        "packed file",
    ),
    "a changed file": (_of("203 Non-Authoritative Information"), "answers 203"),
    "several choices": (_of("300 Multiple Choices"), "answers 300"),
    "no part": (_of("206 Partial Content"), "which part of the file"),
    "an unknown size": (_with(Content_Range="bytes 0-16383/*"), "which part of the file"),
    "an absurd size": (_with(Content_Range=f"bytes 0-16383/{'9' * 5000}"), "which part"),
    "another size": (_with(Content_Range="bytes 0-16383/99999999999"), "arrays take 5,280,000"),
    "a larger part": (
        lambda data: (
            lambda request: part(
                data,
                Request("", request.start, request.stop + 9, 0),
                Content_Range="bytes 0-16383/99999",
            )
        ),
        "more than 16,384 bytes, 5 times|5 times: .*more than 16,384",
    ),
    "no such range": (
        _of("416 Range Not Satisfiable", Content_Range="bytes */5281536"),
        "answers 416",
    ),
    "a circle": (
        _of("302 Found", Location="/m.safetensors", Connection="close"),
        "redirects without end",
    ),
    "a redirect to nothing": (
        _of("302 Found", Location="http://[x?s=SECRET"),
        "not a URL of a web",
    ),
    "a redirect to a file": (
        _of("302 Found", Location="file:///etc/passwd?s=SECRET"),
        "not a URL of a web|passwd",
    ),
    "several parts": (
        _with(Content_Type="multipart/byteranges; boundary=SECRET"),
        "which part of the file",
    ),
    "no HTTP": (lambda _: lambda _: b"SSH-2.0 SECRET\r\n", "5 times: .*is not HTTP"),
    "nothing": (lambda _: lambda _: b"", "5 times: .*disconnected"),
}


@pytest.mark.parametrize("options", CLIENTS)
@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers(name: str, options: dict[str, Any], data: bytes) -> None:
    """One error, which names the URL and no secret."""
    answer, said = WRONG[name]
    with (
        answering(answer(data)) as server,
        pytest.raises((UnreadableFile, DamagedFile), match=said) as caught,
    ):
        initreg.load(f"{server.url}m.safetensors?key=SECRET", storage_options=options)
    assert str(caught.value).startswith(f"{server.url}m.safetensors: ")
    assert "SECRET" not in str(caught.value)


# What comes after the right answers to the first requests.
LATER: dict[str, tuple[Callable[[bytes, Request], bytes], str]] = {
    "the whole file": (lambda data, _: response("200 OK", {"ETag": '"1"'}, data), "whole files"),
    "another ETag": (lambda data, request: part(data, request, ETag='"2"'), "was replaced"),
    "another weak ETag": (lambda data, request: part(data, request, ETag='W/"1"'), "was replaced"),
    "another size": (lambda data, request: part(data + b"1", request), "was replaced"),
    "no such range": (lambda *_: response("416 Range Not Satisfiable", {}), "was replaced"),
    "a page": (lambda *_: response("200 OK", {}, b"<html>Please log in"), "whole files"),
    "a packed part": (
        lambda data, request: part(data, request, Content_Encoding="gzip"),
        "packed part",
    ),
    "an earlier part": (
        lambda data, request: part(data, Request("", request.start - 4, request.stop - 4, 0)),
        "5 times: .*another part",
    ),
}


@pytest.mark.parametrize("options", CLIENTS)
@pytest.mark.parametrize("name", LATER)
def test_wrong_answers_later(name: str, options: dict[str, Any], data: bytes) -> None:
    """What goes wrong while arrays are read never becomes an array."""
    wrong, said = LATER[name]
    answers = [part]
    with (
        answering(lambda request: answers[-1](data, request)) as server,
        initreg.open(f"{server.url}m.safetensors", storage_options=options) as arrays,
    ):
        check({"layer_0/kernel": np.asarray(arrays["layer_0/kernel"])})
        answers.append(wrong)
        with pytest.raises((UnreadableFile, DamagedFile), match=said):
            initreg.load(arrays)


def _endless(start: bytes) -> Iterator[bytes]:
    yield start
    yield from itertools.repeat(b"10000\r\n" + b"a" * 65536 + b"\r\n")


def _endless_part(_: Request) -> Iterator[bytes]:
    headers = {
        "Transfer-Encoding": "chunked",
        "ETag": '"1"',
        "Content-Range": "bytes 0-16383/9999999",
    }
    return _endless(response("206 Partial Content", headers, sized=False))


def _endless_page(_: Request) -> Iterator[bytes]:
    headers = {"Transfer-Encoding": "chunked", "Content-Type": "text/html"}
    return _endless(response("200 OK", headers, sized=False))


@pytest.mark.parametrize("options", CLIENTS)
@pytest.mark.parametrize("path", ["m.safetensors", "folder/"])
def test_an_endless_answer(path: str, options: dict[str, Any]) -> None:
    """An answer that does not end is not kept in memory."""
    with answering(_endless_page if path.endswith("/") else _endless_part) as server:
        with pytest.raises(UnreadableFile, match=r"cannot be (listed|looked at)"):
            initreg.open(server.url + path, storage_options=options)
        assert server.sent < 100 << 20  # with what the system holds for connections


def test_a_page_that_links_elsewhere(data: bytes) -> None:
    """Of the links of a page only those to names in the folder count."""
    page = b"""<a href="?C=N;O=D">Name</a> <a href="../m.npz">x</a>
        <A class=x HREF='/m/m.safetensors'>
        <a href="..%2F..%2Fm.npz">x</a> <a href="http://[">x</a> <a href="/other/m.npz">x</a>
        <a href="a%00b.npz">x</a> <a href=".">x</a> <a href="x&amp;y.txt#z">x</a>"""

    def answer(request: Request) -> bytes:
        if request.path == "/m/":
            return response("200 OK", {"Content-Type": "text/html"}, page)
        if request.path == "/m/m.safetensors":
            return part(data, request)
        return response("404 Not Found", {})

    with answering(answer) as server:
        assert sorted(initreg.Source(f"{server.url}m/").names) == ["m.safetensors", "x&y.txt"]
        check(initreg.load(f"{server.url}m/"))
        assert not any(".." in request.path for request in server.requests)


def test_a_page_that_fails() -> None:
    """A folder that cannot be listed for a moment is not taken for one that has no list."""
    with (
        answering(lambda _: response("503 Service Unavailable", {})) as server,
        pytest.raises(UnreadableFile, match="cannot be listed, 5 times"),
    ):
        initreg.open(f"{server.url}m/")


@pytest.mark.parametrize("name", ["ü ß.npz", "日本.npz", "a+b&c=d;e@f.npz", "[x]*.npz", "a::b.npz"])
def test_names_as_a_user_types_them(name: str, tmp_path: Path, web: WebServer) -> None:
    """Letters that a URL may not have are encoded, as a browser does."""
    initreg.save(tmp_path / name, ARRAYS)
    source = web.url + name
    if "::" in name:  # means a chain of fsspec
        with pytest.raises(InitregError):
            initreg.load(source)
        source = source.replace("::", "%3A%3A")
    check(initreg.load(source))


def test_a_name_that_is_not_utf_8(tmp_path: Path, web: WebServer) -> None:
    """Its bytes reach the server, and those of its neighbours do, too."""
    name = os.fsdecode(b"m\xff.ckpt")
    initreg.save(tmp_path / "m.ckpt", ARRAYS)
    for each in list(tmp_path.iterdir()):
        each.rename(each.with_name(each.name.replace("m.ckpt", name)))
    check(initreg.load(f"{web.url}m%FF.ckpt"))


@pytest.mark.parametrize("url", ["http://host:999999/m.npz", "http://[::/m.npz"])
def test_a_url_that_is_none(url: str) -> None:
    """A wrong port and a wrong address are errors at once."""
    with pytest.raises(SourceNotFound, match=r"Port|IPv6"):
        initreg.open(url)


def test_a_scheme_in_capitals(data: bytes) -> None:
    """HTTP:// is http://."""
    with answering(lambda request: part(data, request)) as server:
        check(initreg.load(server.url.replace("http", "HTTP") + "m.safetensors"))


@pytest.mark.parametrize("options", [{"nonsense": 1}, {"client_kwargs": {"nonsense": 1}}])
def test_an_unknown_storage_option(options: dict[str, Any]) -> None:
    """What the library says about an option is an error of initreg, after one try."""
    with (
        answering(lambda _: b"") as server,
        pytest.raises(UnreadableFile, match="unexpected keyword argument 'nonsense'"),
    ):
        initreg.open(f"{server.url}m.npz", storage_options=options)
    assert not server.requests


@pytest.mark.parametrize(
    "url",
    [
        "weird://account/m.npz?se=2030-01-01T00:00:00Z&sig=SECRET",
        "weird://user:SEC@RET@host/m.npz",
        "simplecache::weird://user:SECRET@host/m.npz?sig=SECRET",
        "ftp://user:SEC@RET@127.0.0.1:1/m.npz",
        "http://user:SECRET@127.0.0.1:1/m.npz?sig=a:SECRET",
    ],
)
def test_errors_have_no_secrets(url: str) -> None:
    """Passwords and signatures with odd letters are left out of messages."""
    with pytest.raises(InitregError) as caught:
        initreg.open(url)
    text = str(caught.value)
    assert "m.npz" in text
    assert not any(each in text for each in ("SECRET", "SEC@", "RET"))
