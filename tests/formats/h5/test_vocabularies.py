"""The vocabularies in a .keras archive, as arrays of strings."""

from __future__ import annotations

import json
import tracemalloc
import zipfile
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import pytest

import initreg
from initreg import DamagedFile, RefusedFile, SmartInit

HOME = "assets/layers/string_lookup/vocabulary.txt"


def weights() -> bytes:
    """A file of weights with a layer that has none, as Keras writes it."""
    content = BytesIO()
    with h5py.File(content, "w") as file:
        file.create_group("layers/string_lookup/vars").attrs["name"] = "words"
        file["layers/dense/vars/0"] = np.ones(3, "f4")
    return content.getvalue()


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("config.json", json.dumps({}))
        file.writestr("model.weights.h5", weights())
        for name, content in members.items():
            file.writestr(name, content)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_one_word_a_line(method: int, end: bytes, tmp_path: Path) -> None:
    """Each line is a word, the first one may be empty, and others are as they are."""
    words = [b"", b"[UNK]", "größe".encode(), b" two words "]
    path = archive(tmp_path / "m.keras", {HOME: end.join(words)}, method)
    with initreg.open(path) as arrays:
        array = arrays["layers/string_lookup/vocabulary"]
        assert (array.shape, array.dtype.kind) == ((4,), "O")
        assert array[1:3].tolist() == words[1:3]
    loaded = initreg.load(path)
    assert loaded["layers/string_lookup/vocabulary"].tolist() == words
    assert set(loaded) == {"layers/dense/vars/0", "layers/string_lookup/vocabulary"}


def test_it_has_the_name_of_its_layer(tmp_path: Path) -> None:
    """Rules match on what people called the layer."""
    path = archive(tmp_path / "m.keras", {HOME: b"a\nb"})
    assert set(initreg.load(path, drop="words/*")) == {"layers/dense/vars/0"}


def test_only_vocabularies_are_arrays(tmp_path: Path) -> None:
    """Other assets are not read."""
    names = ["assets/vocabulary.txt", "vocabulary.txt", "assets/layers/x/merges.txt", f"x/{HOME}"]
    path = archive(tmp_path / "m.keras", dict.fromkeys(names, b"a\nb"))
    assert set(initreg.load(path)) == {"layers/dense/vars/0"}


@pytest.mark.parametrize("ending", ["npz", "h5", "ckpt"])
def test_it_can_be_converted(ending: str, tmp_path: Path) -> None:
    """Formats with strings keep it."""
    path = archive(tmp_path / "m.keras", {HOME: b"a\nbc"})
    found = initreg.load(initreg.convert(path, tmp_path / f"out.{ending}"))
    assert found["layers/string_lookup/vocabulary"].tolist() == [b"a", b"bc"]


def test_into_a_dict(tmp_path: Path) -> None:
    """It is restored like any array."""
    path = archive(tmp_path / "m.keras", {HOME: b"a\nbc"})
    target = {"layers/string_lookup/vocabulary": np.array([b"", b""], object)}
    SmartInit(path, on_unused="ignore").init(target)
    assert target["layers/string_lookup/vocabulary"].tolist() == [b"a", b"bc"]


def test_a_damaged_vocabulary(tmp_path: Path) -> None:
    """Bytes that fail the checksum of the archive are an error that names it."""
    path = archive(tmp_path / "m.keras", {HOME: b"a long vocabulary\nin lines"})
    content = path.read_bytes()
    path.write_bytes(content.replace(b"a long vocabulary", b"a song vocabulary"))
    with pytest.raises(DamagedFile, match=r"vocabulary\.txt' fails its crc32"):
        initreg.load(path)


def test_a_vocabulary_that_unpacks_to_too_much(tmp_path: Path) -> None:
    """All vocabularies together are held to ``max_inflation``, before the first is read."""
    members = {f"assets/layers/a{i}/vocabulary.txt": b"x\n" * (3 << 20) for i in range(12)}
    path = archive(tmp_path / "m.keras", members, zipfile.ZIP_DEFLATED)
    with pytest.raises(RefusedFile, match="its vocabularies"):
        initreg.load(path, max_inflation=100)
    found = initreg.load(path, max_inflation=2000)
    assert found["layers/a0/vocabulary"].shape == ((3 << 20) + 1,)


def test_members_that_share_their_bytes(tmp_path: Path) -> None:
    """An archive cannot hold more bytes than it has."""
    text = b"word\n" * 40_000
    members = {f"assets/layers/a{i}/vocabulary.txt": b"" for i in range(9)}
    path = archive(tmp_path / "m.keras", {HOME: text, **members})
    with zipfile.ZipFile(path) as file:
        infos = {info.filename: info for info in file.infolist()}
    content = bytearray(path.read_bytes())
    real = infos[HOME]
    at = content.index(b"PK\1\2")
    while (at := content.find(b"PK\1\2", at)) >= 0:  # the directory
        length = int.from_bytes(content[at + 28 : at + 30], "little")
        name = bytes(content[at + 46 : at + 46 + length]).decode()
        if name in members:
            content[at + 16 : at + 20] = real.CRC.to_bytes(4, "little")
            content[at + 20 : at + 28] = len(text).to_bytes(4, "little") * 2
            content[at + 42 : at + 46] = real.header_offset.to_bytes(4, "little")
        at += 46
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=r"2,000,000 bytes in an archive of"):
        initreg.load(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"])
@pytest.mark.parametrize("name", [HOME, "config.json", "model.weights.h5"])
def test_members_that_unpack_to_more_than_they_say(tmp_path: Path, method: int, name: str) -> None:
    """bzip2 and LZMA unpack 100 MB in one step, whatever the archive says of the size. No member is
    unpacked so: a vocabulary and weights are refused, and a config is left out."""
    path = tmp_path / "m.keras"
    members = {"config.json": b"{}", "model.weights.h5": weights(), name: b"\n" * 100_000_000}
    with zipfile.ZipFile(path, "w") as file:
        for each, content in members.items():
            file.writestr(each, content, method if each == name else zipfile.ZIP_STORED)
    raw = bytearray(path.read_bytes())
    at = raw.rfind(b"PK\1\2")
    while raw[at + 46 : at + 46 + len(name)] != name.encode():
        at = raw.rfind(b"PK\1\2", 0, at)
    raw[at + 24 : at + 28] = raw[at + 20 : at + 24]  # its size is that of what is packed
    path.write_bytes(raw)
    tracemalloc.start()
    try:
        if name == "config.json":
            assert set(initreg.load(path)) == {"layers/dense/vars/0"}
        else:
            with pytest.raises(DamagedFile, match="which initreg does not read"):
                initreg.load(path)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
