"""initreg.plugin.source: what the caller handed in, as formats see it."""

import os
from pathlib import Path

import numpy as np
import pytest

import initreg
from initreg.errors import RefusedFile, SourceNotFound, UnreadableFile
from initreg.plugin.source import HEAD_BYTES, Source


def test_a_file(tmp_path):
    """A path has a lower-case suffix, a size and the first bytes of its file."""
    path = tmp_path / "Model.NPZ"
    path.write_bytes(b"abc" * 10_000)
    source = Source(str(path))
    assert (source.path, source.suffix, source.size) == (path, ".npz", 30_000)
    assert source.head == (b"abc" * 10_000)[:HEAD_BYTES]
    assert (source.exists, source.is_file, source.is_dir) == (True, True, False)
    assert source.label == str(path)
    assert source.read(1, 3) == b"bca"
    assert source.read(-2, 9) == b"bc"


def test_a_folder(tmp_path):
    """A folder has names and no bytes."""
    (tmp_path / "b").touch()
    (tmp_path / "a").touch()
    source = Source(tmp_path)
    assert (source.is_dir, source.is_file, source.head, source.size) == (True, False, b"", 0)
    assert source.names == ("a", "b")


def test_a_path_that_names_nothing(tmp_path):
    """It is a source all the same: a checkpoint's prefix is one."""
    source = Source(tmp_path / "model-1")
    assert (source.exists, source.head, source.names, source.size) == (False, b"", (), 0)


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "no/such/folder/file"])
def test_impossible_paths_name_nothing(path):
    """A NUL, a name that is too long and a missing folder are no reason to crash."""
    source = Source(path)
    assert not source.exists
    assert isinstance(source.not_found(), SourceNotFound)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    """'~' is expanded, as a shell would."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Source("~/m.npz").path == tmp_path / "m.npz"
    assert Source(Path("~/m.npz")).path == tmp_path / "m.npz"


def test_bytes_are_no_path():
    """A path in bytes is refused with a message, not decoded by guess."""

    class BytesPath:
        def __fspath__(self):
            return b"x"

    with pytest.raises(SourceNotFound, match="not bytes"):
        Source(BytesPath())


def test_the_head_is_read_once(tmp_path):
    """Formats share one read: the head stays what it was at first."""
    path = tmp_path / "f"
    path.write_bytes(b"old")
    source = Source(path)
    assert source.head == b"old"
    path.write_bytes(b"new")
    assert source.head == b"old"


def test_a_pipe_is_refused(tmp_path):
    """Opening a pipe would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RefusedFile, match="neither a file nor a folder"):
        _ = Source(tmp_path / "pipe").head


def test_a_file_that_goes_away_is_unreadable(tmp_path):
    """What the system refuses is an UnreadableFile that names the path."""
    path = tmp_path / "f"
    path.write_bytes(b"x")
    source = Source(path)
    assert source.exists
    path.unlink()
    with pytest.raises(UnreadableFile, match=f"{path}: cannot be read: No such file"):
        _ = source.head


def test_not_found_names_what_is_near(tmp_path):
    """A misspelt name, and a prefix that is only the beginning of one, are answered."""
    for name in ("model_final.npz", "model-100.index", "other"):
        (tmp_path / name).touch()
    assert "Similar names: model_final.npz" in str(Source(tmp_path / "model_fnal.npz").not_found())
    assert "model-100.index" in str(Source(tmp_path / "model-1").not_found())
    error = Source(tmp_path / "deep" / "x").not_found()
    assert str(error) == f"{tmp_path}/deep/x: no such file, and no such folder '{tmp_path}/deep'"


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("m.pt", b"PK\x03\x04rest", "a PyTorch file"),
        ("m.bin", b"PK\x03\x04" + b"\0" * 26 + b"archive/data.pkl", "a PyTorch file"),
        ("m.bin", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "a PyTorch file"),
        ("m.jit", b"PK\x03\x04" + b"\0" * 26 + b"model/data/0FB", "a PyTorch file"),
        ("m.tflite", b"\x1c\0\0\0TFL3", "pip install initreg-tflite"),
        ("m.pb", b"\x0a\x0a\x0a\x01w\x12\x05Const", "pip install initreg-frozen-graph"),
        ("m.onnx", b"\x08\x07", "pip install initreg-onnx"),
        ("m.gguf", b"GGUF\3\0\0\0", "pip install initreg-gguf"),
        ("flax_model.msgpack", b"\x81\xa1a\x81\xa1b\xc7", "pip install initreg-jax"),
        ("flax_model.msgpack.index.json", b'{"weight_map": {}}', "pip install initreg-jax"),
        ("group1-shard1of2.bin", b"\0\0\0\0", "pip install initreg-tfjs"),
        ("model.json", b"{" + b" " * 9000 + b'"weightsManifest": []}', "pip install initreg-tfjs"),
        ("a-weights_manifest.json", b"[]", "pip install initreg-tfjs"),
        ("model.json", b'{"class_name": "Sequential"}', ""),
        ("m.pkl", b"\x80\x04\x95", "a Python pickle"),
        ("m.zip", b"PK\x03\x04", "a zip archive"),
        ("m.gz", b"\x1f\x8b\x08", "gzip"),
        ("m.npz", b"<!DOCTYPE html>", "a web page"),
        ("m.npz", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("m.txt", b"", "the file is empty"),
        ("m.txt", b"hello", ""),
    ],
)
def test_looks_like(tmp_path, name, content, what):
    """An unclaimed file is told by its first bytes, with the remedy where there is one."""
    (tmp_path / name).write_bytes(content)
    hint = Source(tmp_path / name).looks_like()
    assert what in hint
    assert bool(what) == bool(hint)


def test_a_torch_file_comes_with_the_command_that_converts_it(tmp_path):
    """The hint names the package that reads it, and ends in code that can be pasted."""
    (tmp_path / "m.pth").write_bytes(b"PK\x03\x04")
    assert "pip install initreg-torch." in Source(tmp_path / "m.pth").looks_like()
    assert (
        "safetensors.torch.save_file(torch.load(path, weights_only=True)"
        in Source(tmp_path / "m.pth").looks_like()
    )


def test_a_script_of_torch_comes_with_its_own_command(tmp_path):
    """What torch.jit.save wrote is loaded in another way."""
    (tmp_path / "m.jit").write_bytes(b"PK\x03\x04")
    assert "save_file(torch.jit.load(path).state_dict()," in Source(tmp_path / "m.jit").looks_like()


def test_an_empty_path_names_nothing():
    """It is not the working folder."""
    with pytest.raises(SourceNotFound, match="the path is empty"):
        Source("")


def test_a_folder_and_an_object_are_described(tmp_path):
    """A folder by its names, an object by its type."""
    assert Source(tmp_path).looks_like() == "an empty folder"
    for i in range(7):
        (tmp_path / f"f{i}").touch()
    assert (
        Source(tmp_path).looks_like() == "a folder with f0, f1, f2, f3, f4, .... Pass a file in it"
    )
    (tmp_path / "_CHECKPOINT_METADATA").touch()
    assert "pip install 'initreg-jax[orbax]'" in Source(tmp_path).looks_like()
    assert "Pass it to SmartInit" in Source(["a.npz"]).looks_like()
    assert "of type int" in Source(3).looks_like()
    assert Source({"a": 1, "b": 2}).label == "dict of 2"
    assert Source({1, 2, 3}).label == "set of 3"
    assert Source(3).label == "int"


def test_a_relative_path_stays_what_it_was(tmp_path, monkeypatch):
    """It is shown as it was given, and goes on naming its file from any folder."""
    np.savez(tmp_path / "m.npz", a=np.ones(2))
    monkeypatch.chdir(tmp_path)
    assert Source("m.npz").label == "m.npz"
    assert Source("m.npz").path == tmp_path / "m.npz"
    with initreg.open("m.npz") as arrays:
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path / "other")
        assert arrays["a"].read().tolist() == [1, 1]


def test_the_members_of_an_archive(tmp_path):
    """A whole zip archive tells its names; a truncated one, and any other file, has none."""
    np.savez(tmp_path / "m.npz", a=np.ones(2), b=np.ones(2))
    data = (tmp_path / "m.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(data[:-30])
    (tmp_path / "text").write_text("PK is how it begins")
    whole = Source(tmp_path / "m.npz")
    assert whole.members == ("a.npy", "b.npy")
    assert [info.file_size for info in whole.member_infos or ()] == [128 + 16] * 2
    for name in ("cut.npz", "text", "missing", "."):
        assert Source(tmp_path / name).members is None
        assert Source(tmp_path / name).member_infos is None


def test_no_name_of_a_file_imitates_a_line(tmp_path):
    """Line breaks in the names of files are escaped in messages, also those of other files."""
    (tmp_path / "m\nit is fine.npz").write_bytes(b"PK\x03\x04 and no more")
    for path in (tmp_path, tmp_path / "m\nit is fin.npz", tmp_path / "m\nit is fine.npz"):
        with pytest.raises(initreg.InitregError, match=r"m\\nit is fine\.npz") as caught:
            initreg.open(path)
        assert "\n" not in str(caught.value)
