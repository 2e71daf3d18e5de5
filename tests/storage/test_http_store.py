"""Files of a web server: whatever the server does, wrong bytes never become arrays."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import DamagedFile, InitregError, LocalOnly, SourceNotFound, UnreadableFile
from tests.storage.web_server import WebServer

rng = np.random.default_rng(0)
ARRAYS = {f"layer_{i}/kernel": rng.normal(size=(40, 25)).astype("f4") for i in range(20)}
ARRAYS["large"] = rng.normal(size=(1300, 1000)).astype("f4")  # two pieces of 4 MiB


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.safetensors"
    initreg.save(path, ARRAYS)
    return path


def same(found: Any) -> bool:
    return found.keys() == ARRAYS.keys() and all(
        np.array_equal(found[name], array) for name, array in ARRAYS.items()
    )


def test_a_file_is_read_by_ranges(model: Path, web: WebServer) -> None:
    """All values are right, every request is for a range, and each data byte is sent once."""
    with initreg.open(f"{web.url}m.safetensors") as arrays:
        assert list(arrays) == list(initreg.open(model))
        assert not web.sent > 1 << 16
        headers = web.sent
        assert same({name: np.asarray(array) for name, array in arrays.items()})
    assert all(wanted is not None for _, wanted in web.requests)
    assert web.sent - headers <= model.stat().st_size


def test_dropped_arrays_are_not_sent(model: Path, web: WebServer) -> None:
    """What rules leave out costs no bytes."""
    found = initreg.load(f"{web.url}m.safetensors", keep="layer_3/*")
    assert np.array_equal(found["layer_3/kernel"], ARRAYS["layer_3/kernel"])
    assert web.sent < 1 << 16


def test_small_dropped_arrays_between_others_are_not_sent(tmp_path: Path, web: WebServer) -> None:
    """Neighbours are read in one request, but not over an array that nobody wants."""
    names = [f"{i:03}" for i in range(60)]
    initreg.save(tmp_path / "m.npz", {name: np.full(3000, i, "f4") for i, name in enumerate(names)})
    with initreg.open(f"{web.url}m.npz", drop=names[1::2]) as arrays:
        extents = {name: array.value for name, array in initreg.open(tmp_path / "m.npz").items()}
        web.clear()
        found = initreg.load(arrays)
    assert all(np.array_equal(found[n], np.full(3000, int(n), "f4")) for n in names[::2])
    for _, wanted in web.requests:
        start, stop = map(int, re.findall(r"\d+", wanted or ""))
        for name in names[1::2]:
            begin = extents[name].offset
            assert not (start < begin + extents[name].length and begin <= stop), name


@pytest.mark.parametrize("fault", [503, 500, 429, "drop", "short", "shifted"])
def test_a_fault_that_passes_is_not_noticed(fault: Any, model: Path, web: WebServer) -> None:
    """A request that fails is made again, and the values are right."""
    with initreg.open(f"{web.url}m.safetensors") as arrays:
        web.faults = [fault, None, fault, fault]
        assert same(initreg.load(arrays))
    assert not web.faults


@pytest.mark.parametrize("fault", [503, "drop", "short", "shifted"])
@pytest.mark.parametrize("first", [True, False])
def test_a_fault_that_stays_is_one_error(
    fault: Any, first: bool, model: Path, web: WebServer
) -> None:
    """The error names the URL and says how often it was tried."""
    if first:
        web.faults = [fault] * 1000
    with ExitStack() as stack:
        source: Any = f"{web.url}m.safetensors"
        if not first:
            source = stack.enter_context(initreg.open(source))
            web.faults = [fault] * 1000
        with pytest.raises(UnreadableFile, match=r"m\.safetensors: .*5 times"):
            initreg.load(source)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_request_is_not_repeated(status: int, model: Path, web: WebServer) -> None:
    """Without permission there is one request and one error about credentials."""
    web.faults = [status] * 1000
    with pytest.raises(UnreadableFile, match=rf"the server answers {status}.*credentials"):
        initreg.open(f"{web.url}m.safetensors")
    assert len(web.requests) == 1


def test_a_server_that_ignores_ranges_is_refused(model: Path, web: WebServer) -> None:
    """The whole file never passes for a part of it, and it is not downloaded by accident."""
    web.ranges = False
    with pytest.raises(UnreadableFile, match=r"sends only whole files.*simplecache::http"):
        initreg.open(f"{web.url}m.safetensors")
    assert len(web.requests) == 1


def test_a_small_file_needs_no_ranges(tmp_path: Path, web: WebServer) -> None:
    """A file that came complete with the first answer is read from it."""
    initreg.save(tmp_path / "s.npz", {"w": np.arange(6.0)})
    web.ranges = False
    assert np.array_equal(initreg.load(f"{web.url}s.npz")["w"], np.arange(6.0))
    assert len(web.requests) == 1


def test_a_server_that_stops_sending_ranges(model: Path, web: WebServer) -> None:
    """A whole file instead of a part is refused in the middle of a restore, too."""
    with initreg.open(f"{web.url}m.safetensors") as arrays:
        web.faults = ["whole"]
        with pytest.raises(UnreadableFile, match="sends only whole files"):
            np.asarray(arrays["large"])


@pytest.mark.parametrize("etags", [True, False])
@pytest.mark.parametrize("matches", [True, False])
def test_a_replaced_file_is_noticed(
    etags: bool, matches: bool, model: Path, web: WebServer
) -> None:
    """Bytes of two versions are never mixed, also if the server does not mind If-Match."""
    web.etags, web.matches = etags, matches
    with initreg.open(f"{web.url}m.safetensors") as arrays:
        initreg.save(model, {name: array + 1 for name, array in ARRAYS.items()})
        with pytest.raises(DamagedFile, match="was replaced or written to"):
            initreg.load(arrays)
    found = initreg.load(f"{web.url}m.safetensors")
    assert np.array_equal(found["large"], ARRAYS["large"] + 1)


def test_each_range_carries_if_match(model: Path, web: WebServer) -> None:
    """The server itself can refuse a part of another version."""
    initreg.load(f"{web.url}m.safetensors")
    assert len(web.headers) > 2
    assert all(each["If-Match"] == web.etag(model) for each in web.headers[1:])


def test_a_removed_file_is_noticed(model: Path, web: WebServer) -> None:
    """A file that is gone in the middle of a restore is an error that says so."""
    with initreg.open(f"{web.url}m.safetensors") as arrays:
        model.unlink()
        with pytest.raises(DamagedFile, match=r"was replaced or written to.*404"):
            np.asarray(arrays["large"])


def test_a_missing_file(web: WebServer) -> None:
    """404 is an error that is a FileNotFoundError, too."""
    with pytest.raises(SourceNotFound, match=r"none\.npz: no such file"):
        initreg.open(f"{web.url}none.npz")
    with pytest.raises(FileNotFoundError):
        initreg.open(f"{web.url}none.npz")


def test_mapping_is_for_local_files(model: Path, web: WebServer) -> None:
    """mmap=True is an error that says why, rather than an option without effect."""
    with pytest.raises(LocalOnly, match=r"m\.safetensors: only a local file can be mapped"):
        initreg.open(f"{web.url}m.safetensors", mmap=True)


def test_an_error_page_is_no_model(tmp_path: Path, web: WebServer) -> None:
    """A page that a server sends with status 200 is recognised, as it is on the disk."""
    (tmp_path / "m.npz").write_text("<!doctype html><html><body>Please log in</body></html>")
    with pytest.raises(DamagedFile, match="web page"):
        initreg.open(f"{web.url}m.npz")


def test_an_empty_file(tmp_path: Path, web: WebServer) -> None:
    """Status 416 for an empty file is read as what it is."""
    (tmp_path / "m.npz").touch()
    with pytest.raises(DamagedFile, match="empty"):
        initreg.open(f"{web.url}m.npz", format="npz")


def test_signatures_and_passwords_are_not_shown(model: Path, web: WebServer) -> None:
    """No message repeats what lets somebody in."""
    url = web.url.replace("http://", "http://user:secret@") + "m.safetensors?sig=SECRET"
    with initreg.open(url) as arrays:
        assert "secret" not in f"{arrays.label} {arrays!r} {arrays.files}".lower()
    model.unlink()
    with pytest.raises(InitregError) as caught:
        initreg.open(url)
    assert "secret" not in str(caught.value).lower()


def test_names_are_encoded(tmp_path: Path, web: WebServer) -> None:
    """Spaces, percent signs and letters beyond ASCII in a name reach the server."""
    folder = tmp_path / "a b%20ü"
    folder.mkdir()
    initreg.save(folder / "m ü.npz", {"w": np.arange(3)})
    found = initreg.load(f"{web.url}a%20b%2520%C3%BC/m%20%C3%BC.npz")
    assert np.array_equal(found["w"], np.arange(3))


@pytest.mark.parametrize("lists", [True, False])
def test_a_set_of_parts_is_complete(lists: bool, tmp_path: Path, web: WebServer) -> None:
    """One part opens the whole set, whether the server lists its folders or not."""
    web.lists = lists
    index = initreg.save(tmp_path / "m.safetensors", ARRAYS, shard_size="1MB")
    parts = sorted(each.name for each in tmp_path.glob("*-of-*"))
    assert len(parts) == 2
    assert same(initreg.load(f"{web.url}{os.path.basename(index)}"))
    assert same(initreg.load(f"{web.url}{parts[1]}"))
    os.unlink(index)
    assert same(initreg.load(f"{web.url}{parts[0]}"))
    (tmp_path / parts[0]).unlink()
    with pytest.raises(DamagedFile, match=f"missing.*{re.escape(parts[0])}"):
        initreg.open(f"{web.url}{parts[1]}")


def test_requests_at_once(model: Path, web: WebServer) -> None:
    """Parts of a large array are asked for side by side."""
    web.pause = 0.02
    with initreg.open(f"{web.url}m.safetensors") as arrays:
        assert same(initreg.load(arrays))
    assert 2 <= web.most_at_once <= 16
