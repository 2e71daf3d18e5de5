"""Data files of a checkpoint that are missing, misnamed, of another save, or not what they seem."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import initreg
from initreg import DamagedFile, InitregError, RefusedFile, SourceNotFound
from initreg_formats.tf_checkpoint.data_files import stem_of

W = np.arange(900, dtype=np.float32)
DATA = "m.ckpt.data-00000-of-00001"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    initreg.save(tmp_path / "m.ckpt", {"w": W})
    return tmp_path


def error(path: Path) -> InitregError:
    with pytest.raises(InitregError) as caught:
        initreg.load(path)
    return caught.value


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("m.ckpt.data", "m.ckpt"),
        ("m.ckpt.data-00000", "m.ckpt"),
        ("m.ckpt.data-00000-of-00001 (1)", "m.ckpt"),
        ("m.ckpt.data-00000-of-00001.txt", "m.ckpt"),
        ("m.ckpt.data_00000_of_00001", "m.ckpt"),
        (DATA, None),
        ("m.database", None),
        (".data", None),
        ("m.ckpt", None),
    ],
)
def test_shortened_names(name: str, stem: str | None) -> None:
    """What programs make of the name of a data file is recognised, and other names are not."""
    assert stem_of(name) == stem


@pytest.mark.parametrize("short", ["m.ckpt.data", f"{DATA} (1)", f"{DATA}.bin"])
@pytest.mark.parametrize("given", ["m.ckpt", "m.ckpt.index", "", None])
def test_a_shortened_name_is_not_called_damaged(folder: Path, short: str, given: str) -> None:
    """The error says which name is expected, and its command mends it."""
    os.rename(folder / DATA, folder / short)
    found = error(folder / (short if given is None else given))
    assert isinstance(found, SourceNotFound)
    assert not isinstance(found, DamagedFile)
    assert DATA in str(found)
    command = str(found).rpartition("full name: ")[2]
    assert subprocess.run(shlex.split(command), check=False).returncode == 0
    assert initreg.load(folder / "m.ckpt")["w"].tolist() == W.tolist()


def test_a_shortened_name_without_an_index(folder: Path) -> None:
    """Both names are said. A file of another program is left alone."""
    os.rename(folder / DATA, folder / "m.ckpt.data")
    os.unlink(folder / "m.ckpt.index")
    for name in ("m.ckpt.data", "m.ckpt"):
        said = str(error(folder / name))
        assert "m.ckpt.index is missing" in said
        assert DATA in said
    (folder / "iris.data").write_text("5.1,3.5,1.4,0.2,Iris-setosa\n" * 9)
    assert isinstance(error(folder / "iris.data"), initreg.UnknownFormat)


def test_another_file_than_the_one_that_was_named_is_not_opened(folder: Path) -> None:
    """If the data file exists under its full name, a misnamed one beside it is not taken for it,
    nor is the data file of another save."""
    shutil.copy(folder / DATA, folder / "m.ckpt.data")
    assert "is not the name of one of its 1 data files" in str(error(folder / "m.ckpt.data"))
    shutil.copy(folder / DATA, folder / "m.ckpt.data-00000-of-00002")
    said = str(error(folder / "m.ckpt.data-00000-of-00002"))
    assert "counts 1 data files, and m.ckpt.data-00000-of-00002 is of 2" in said


def test_a_stale_index_and_a_missing_file_get_different_advice(folder: Path) -> None:
    """A data file of another count shows that the index is of another save."""
    os.rename(folder / DATA, folder / "aside")
    assert "Copy them into" in str(error(folder / "m.ckpt"))
    os.rename(folder / "aside", folder / "m.ckpt.data-00000-of-00002")
    said = str(error(folder / "m.ckpt"))
    assert "m.ckpt.data-*-of-00002, which is of another save than the index" in said


@pytest.mark.parametrize("name", [DATA, "m.ckpt.index"])
@pytest.mark.parametrize("given", ["m.ckpt", "m.ckpt.index", DATA, ""])
@pytest.mark.parametrize(("content", "word"), [(LFS, "git lfs pull"), (b"<html>no", "web page")])
def test_pointers_and_pages(folder: Path, name: str, given: str, content: bytes, word: str) -> None:
    """As the index or as the data file, however the checkpoint is named, with or without checks."""
    (folder / name).write_bytes(content)
    said = str(error(folder / given))
    assert name in said
    assert word in said
    with pytest.raises(InitregError, match=word):
        initreg.open(folder / given, verify=False)


def test_small_arrays_are_not_read_from_a_pointer(folder: Path) -> None:
    """A pointer is longer than a small array, so its bytes would be taken without checks."""
    initreg.save(folder / "s.ckpt", {"w": W[:4]})
    (folder / "s.ckpt.data-00000-of-00001").write_bytes(LFS)
    with pytest.raises(DamagedFile, match="git lfs pull"):
        initreg.open(folder / "s.ckpt", verify=False)


def test_a_clone_without_git_lfs(folder: Path) -> None:
    """A folder of pointers only, and a state file that is one."""
    for name in (DATA, "m.ckpt.index"):
        (folder / name).write_bytes(LFS)
    assert "git lfs pull" in str(error(folder))
    os.unlink(folder / DATA)
    assert "git lfs pull" in str(error(folder))
    (folder / "checkpoint").write_bytes(LFS)
    assert "checkpoint: this state file is a git-lfs pointer" in str(error(folder))
    assert "git lfs pull" in str(error(folder / "checkpoint"))


@pytest.mark.parametrize("name", [DATA, "m.ckpt.index"])
def test_links_out_of_a_folder(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    """What initreg finds by itself is not followed out of the folder: by the folder, by a state
    file, and for a data file by the prefix. An index that the user named is followed."""
    outside = tmp_path_factory.mktemp("outside") / name
    os.rename(folder / name, outside)
    (folder / name).symlink_to(outside)
    given = [folder] if name.endswith("index") else [folder, folder / "m.ckpt"]
    for path in given:
        assert isinstance(error(path), RefusedFile)
    (folder / "checkpoint").write_text('model_checkpoint_path: "m.ckpt"\n')
    for path in (folder, folder / "checkpoint"):
        assert isinstance(error(path), RefusedFile)
    if name.endswith("index"):
        assert initreg.load(folder / "m.ckpt")["w"].tolist() == W.tolist()


def test_a_state_file_that_is_a_link_out(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A state file that is a link out of the folder is refused where initreg finds it, read where
    the user names it, and followed inside the folder and in the cache of Hugging Face."""
    outside = tmp_path_factory.mktemp("outside") / "elsewhere"
    outside.write_text('model_checkpoint_path: "m.ckpt"\n')
    (folder / "checkpoint").symlink_to(outside)
    found = error(folder)
    assert isinstance(found, RefusedFile)
    assert "its part checkpoint is a link out of the folder" in str(found)
    assert initreg.load(folder / "checkpoint")["w"].tolist() == W.tolist()
    os.unlink(folder / "checkpoint")
    os.rename(outside, folder / "state")
    (folder / "checkpoint").symlink_to("state")
    assert initreg.load(folder)["w"].tolist() == W.tolist()
    snapshot = outside.parent / "models--a--b" / "snapshots" / "1"
    blobs = snapshot.parent.parent / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, name in enumerate(("m.ckpt.index", DATA, "state")):
        shutil.copy(folder / name, blobs / str(number))
        (snapshot / name.replace("state", "checkpoint")).symlink_to(f"../../blobs/{number}")
    assert initreg.load(snapshot)["w"].tolist() == W.tolist()


def test_another_format_beside_a_state_file_that_is_a_link_out(tmp_path: Path) -> None:
    """A link out that is called ``checkpoint`` does not keep other weights from being found."""
    folder = tmp_path / "model"
    folder.mkdir()
    initreg.save(folder / "model.safetensors", {"w": W})
    (tmp_path / "notes").write_text("about this model")
    (folder / "checkpoint").symlink_to(tmp_path / "notes")
    assert initreg.load(folder)["w"].tolist() == W.tolist()


def test_the_variables_of_a_saved_model_stay_in_it(folder: Path, tmp_path: Path) -> None:
    """A folder ``variables`` that is a link out is refused."""
    model, outside = tmp_path / "model", tmp_path / "outside"
    model.mkdir()
    outside.mkdir()
    initreg.save(outside / "variables.ckpt", {"w": W})
    os.rename(outside / "variables.ckpt.index", outside / "variables.index")
    data = "data-00000-of-00001"
    os.rename(outside / f"variables.ckpt.{data}", outside / f"variables.{data}")
    (model / "saved_model.pb").write_bytes(b"\x08\x01")
    shutil.copytree(outside, model / "variables")
    assert initreg.load(model)["w"].tolist() == W.tolist()
    shutil.rmtree(model / "variables")
    (model / "variables").symlink_to(outside)
    assert isinstance(error(model), RefusedFile)
