"""S3: a server of its own on loopback, the library that people use, and objects that change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import DamagedFile, SourceNotFound, UnwritableFile

pytestmark = pytest.mark.remote
rng = np.random.default_rng(0)
ARRAYS = {f"layer_{i}/kernel": rng.normal(size=(40, 25)).astype("f4") for i in range(20)}
ARRAYS["large"] = rng.normal(size=(1500, 1000)).astype("f4")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server that answers as S3 does."""
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def options(server: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The storage options by which s3fs finds the server."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return {"key": "user", "secret": "VERYSECRET", "client_kwargs": {"endpoint_url": server}}


@pytest.fixture
def fs(options: dict[str, Any]) -> Iterator[Any]:
    """An empty bucket called ``weights``."""
    import s3fs

    found = s3fs.S3FileSystem(**options)
    found.mkdir("weights")
    yield found
    found.rm("weights", recursive=True)


def same(found: dict[str, Any], expected: dict[str, Any] = ARRAYS) -> bool:
    return found.keys() == expected.keys() and all(
        np.array_equal(found[name], array) for name, array in expected.items()
    )


@pytest.mark.parametrize("name", ["m.npz", "m.safetensors", "m.h5", "run/m.ckpt"])
def test_saved_and_loaded(name: str, fs: Any, options: dict[str, Any]) -> None:
    """What is saved to a bucket opens, also over an earlier save, and nothing else is left."""
    for step in range(2):
        arrays = {**ARRAYS, "step": np.int64([step])}
        url = initreg.save(f"s3://weights/{name}", arrays, storage_options=options)
        assert url == f"s3://weights/{name}"
        assert same(initreg.load(url, storage_options=options), arrays)
    # A checkpoint has two data files then, whose names the first save did not use.
    assert len(fs.find("weights")) == (3 if name == "run/m.ckpt" else 1)


def test_a_sharded_save_replaces_another(fs: Any, options: dict[str, Any]) -> None:
    """Shards get new names, and those of the save before are removed."""
    kept = []
    for size in ("2MB", "3MB"):
        url = initreg.save(
            "s3://weights/m.safetensors", ARRAYS, shard_size=size, storage_options=options
        )
        assert same(initreg.load(url, storage_options=options))
        kept.append({name for name in fs.find("weights") if "-of-" in name})
    assert kept[0].isdisjoint(kept[1])
    assert same(initreg.load("s3://weights/", storage_options=options))


def test_an_object_that_is_replaced(fs: Any, options: dict[str, Any]) -> None:
    """Each range asks for the version that was looked at first, so that S3 itself refuses."""
    url = initreg.save("s3://weights/m.safetensors", ARRAYS, storage_options=options)
    with initreg.open(url, storage_options=options) as arrays:
        data = bytearray(fs.cat_file("weights/m.safetensors"))
        data[-4:] = b"\0\0\0\0"  # the same size
        fs.pipe_file("weights/m.safetensors", bytes(data))
        with pytest.raises(DamagedFile, match="was replaced or written to"):
            np.asarray(arrays["large"])


def test_an_object_that_is_removed(fs: Any, options: dict[str, Any]) -> None:
    """An object that is gone is an error that says so."""
    url = initreg.save("s3://weights/m.safetensors", ARRAYS, storage_options=options)
    with initreg.open(url, storage_options=options) as arrays:
        fs.rm("weights/m.safetensors")
        with pytest.raises(DamagedFile, match="was replaced or written to"):
            np.asarray(arrays["large"])


def test_an_object_is_looked_at_once(fs: Any, options: dict[str, Any]) -> None:
    """One HEAD says how large it is and which version, and then there are only ranges."""
    url = initreg.save("s3://weights/m.safetensors", ARRAYS, storage_options=options)
    fs.invalidate_cache()
    asked: list[str] = []

    def ask(event_name: str, **_: Any) -> None:
        asked.append(event_name.rpartition(".")[2])

    events = fs.s3.meta.events
    events.register("before-call.s3", ask)
    try:
        assert same(initreg.load(url, storage_options=options))
    finally:
        events.unregister("before-call.s3", ask)
    assert asked.count("HeadObject") == 1
    assert set(asked) == {"HeadObject", "GetObject"}


def test_what_is_missing(fs: Any, options: dict[str, Any]) -> None:
    """A key and a bucket that do not exist are named, and so are similar keys."""
    initreg.save("s3://weights/model.npz", ARRAYS, storage_options=options)
    with pytest.raises(SourceNotFound, match=r"s3://weights/modle\.npz: .*model\.npz"):
        initreg.open("s3://weights/modle.npz", storage_options=options)
    with pytest.raises(SourceNotFound, match=r"s3://nosuch/model\.npz"):
        initreg.open("s3://nosuch/model.npz", storage_options=options)
    with pytest.raises(UnwritableFile, match=r"s3://nosuch/model\.npz: cannot be written"):
        initreg.save("s3://nosuch/model.npz", ARRAYS, storage_options=options)


def test_secrets_are_not_shown(fs: Any, options: dict[str, Any]) -> None:
    """Neither a plan, a hint nor an error repeats the credentials."""
    initreg.save("s3://weights/m.npz", {"a/w": np.zeros(3)}, storage_options=options)
    init = initreg.SmartInit("s3://weights/m.npz", storage_options=options)
    with pytest.raises(initreg.NothingMatched) as caught:
        init.init({"b/w": np.zeros(3)})
    text = f"{init!r} {caught.value} {caught.value.__dict__}"
    assert "VERYSECRET" not in text
    plan = init.plan({"a/w": np.zeros(3)})
    assert not re.search("VERYSECRET", f"{plan!r} {plan}")


def test_a_run_is_resumed(fs: Any, options: dict[str, Any]) -> None:
    """The newest checkpoint whose files are all there is found, with its states."""
    for step in (1, 2, 3):
        url = f"s3://weights/run/model-{step}.npz"
        initreg.save_states(url, epoch=step, step=step, storage_options=options)
        initreg.save(url, {"w": np.full(3, step)}, storage_options=options)
    fs.rm("weights/run/model-3.npz")
    point = initreg.resume("s3://weights/run", verify=True, storage_options=options)
    assert point is not None
    assert (str(point.path), point.epoch, point.skipped) == ("s3://weights/run/model-2.npz", 2, ())
    assert initreg.load(point.path)["w"][0] == 2
    with pytest.raises(SourceNotFound, match="no such folder"):
        initreg.resume("s3://weights/nothing", storage_options=options)


def test_checkpoints_without_a_sidecar(fs: Any, options: dict[str, Any]) -> None:
    """They are ordered by the time at which they were written, which S3 says."""
    import time

    for step in (9, 10, 2):
        initreg.save(
            f"s3://weights/run/model-{step}",
            {"w": np.ones(3)},
            format="tf_checkpoint",
            storage_options=options,
        )
        time.sleep(1.1)  # S3 says it in seconds
    point = initreg.resume("s3://weights/run", storage_options=options)
    assert point is not None
    assert point.step == 2
