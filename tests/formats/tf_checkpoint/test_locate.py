"""Which checkpoint a path means, and the errors if nothing can be opened."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

import initreg
from initreg import (
    Confidence,
    DamagedFile,
    InitregError,
    RefusedFile,
    SourceNotFound,
    UnknownFormat,
)
from initreg_formats.tf_checkpoint.state import checkpoint_path


@pytest.fixture
def folder(tables: SimpleNamespace, tmp_path: Path) -> Path:
    """A folder with model-1 and model-2, each of one number, and no state file."""
    path = tmp_path / "run"
    path.mkdir()
    for number in (1, 2):
        tables.save(path / f"model-{number}", {"x": np.float32(number)})
    return path


def state(folder: Path, stated: str, name: str = "checkpoint") -> Path:
    path = folder / name
    path.write_text(f'model_checkpoint_path: "{stated}"\nall_model_checkpoint_paths: "other"\n')
    return path


def value(path: Path | str) -> float:
    """The only number in the checkpoint that ``path`` means, which must be claimed as EXACT."""
    ((name, claim),) = initreg.probe(path).claims
    assert name == "tf_checkpoint"
    assert claim.confidence is Confidence.EXACT
    assert claim.reason
    with initreg.open(path) as arrays:
        return float(arrays["x"].read())


def problem(path: Path | str) -> str:
    """The error for a checkpoint that is claimed, but cannot be opened."""
    ((name, claim),) = initreg.probe(path).claims
    assert name == "tf_checkpoint"
    assert claim.confidence < Confidence.EXACT
    with pytest.raises(DamagedFile) as caught:
        initreg.open(path)
    return str(caught.value)


@pytest.mark.parametrize("ending", ["", ".index", ".data-00000-of-00001"])
def test_prefix_and_files(folder: Path, ending: str) -> None:
    """The prefix, the index and a data file all mean the same checkpoint."""
    assert value(folder / f"model-2{ending}") == 2
    assert value(f"{folder}/model-1{ending}") == 1


def test_meta_file(folder: Path) -> None:
    """The .meta that the older Saver writes beside a checkpoint means that checkpoint."""
    (folder / "model-1.meta").write_bytes(b"\x0a\x00graph")
    assert value(folder / "model-1.meta") == 1
    (folder / "other.meta").write_bytes(b"\x0a\x00graph")
    with pytest.raises(UnknownFormat):
        initreg.open(folder / "other.meta")


def test_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``~`` is the user's home, also for a prefix, which is not a file."""
    monkeypatch.setenv("HOME", str(folder))
    assert value("~/model-1") == 1
    state(folder, "model-2")
    assert value("~") == 2


def test_relative(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prefix in the current folder, and that folder itself."""
    monkeypatch.chdir(folder)
    assert value("model-1") == 1
    state(folder, "model-2")
    assert value(".") == 2
    assert value("checkpoint") == 2


@pytest.mark.parametrize("given", ["folder", "file"])
@pytest.mark.parametrize("stated", ["model-1", "./model-1", "../run/model-1", "{folder}/model-1"])
def test_state_file(folder: Path, stated: str, given: str) -> None:
    """A state file, or its folder, means the checkpoint that it names, relative or absolute."""
    path = state(folder, stated.format(folder=folder))
    assert value(folder if given == "folder" else path) == 1


def test_state_file_of_another_name(folder: Path) -> None:
    """A state file is recognised by its contents, because ``latest_filename=`` may give it any
    name."""
    assert value(state(folder, "model-1", "latest")) == 1


@pytest.mark.parametrize(
    "stated", ["/gone/model-1", r"C:\\gone\\model-1", "gone/model-1", "/gone/../model-1"]
)
def test_moved_folder(folder: Path, stated: str) -> None:
    """If the path in a state file does not exist, the checkpoint of that name beside it is
    meant."""
    assert value(state(folder, stated)) == 1


def test_copied_folder(folder: Path, tables: SimpleNamespace, tmp_path: Path) -> None:
    """If the stated path and a checkpoint beside the state file both exist, the one beside it is
    meant."""
    copy = tmp_path / "copy"
    state(folder, str(folder / "model-1"))
    shutil.copytree(folder, copy)
    tables.save(copy / "model-1", {"x": np.float32(10)})
    assert value(copy) == 10
    for file in copy.glob("model-1.*"):
        file.unlink()
    with pytest.raises(RefusedFile, match=r"points out of its folder, to .*run/model-1'\. If you"):
        initreg.open(copy)


@pytest.mark.parametrize("stated", ["../other/model-1", "{folder}/../other/model-1"])
def test_state_file_that_points_out_of_its_folder(
    folder: Path, tables: SimpleNamespace, tmp_path: Path, stated: str
) -> None:
    """A state file cannot choose a file outside of its folder, not even through a link. A folder
    below its own is allowed."""
    (tmp_path / "other").mkdir()
    tables.save(tmp_path / "other" / "model-7", {"x": np.float32(7)})
    stated = stated.format(folder=folder).replace("model-1", "model-7")
    with pytest.raises(RefusedFile, match="points out of its folder"):
        initreg.open(state(folder, stated))
    (folder / "below").symlink_to(tmp_path / "other")
    with pytest.raises(RefusedFile, match="points out of its folder"):
        initreg.open(state(folder, "below/model-7"))
    (folder / "below").unlink()
    (tmp_path / "other").rename(folder / "below")
    assert value(state(folder, "below/model-7")) == 7


def test_data_files_that_link_out_of_the_folder(folder: Path, tmp_path: Path) -> None:
    """They are refused, unless the index leads there too, or they belong to a Hugging Face
    snapshot."""
    store = tmp_path / "store"
    store.mkdir()
    data, index = "model-1.data-00000-of-00001", "model-1.index"
    (folder / data).rename(store / data)
    (folder / data).symlink_to(store / data)
    with pytest.raises(
        RefusedFile, match=rf"its part {data} is a link out of the folder, to .*store"
    ):
        initreg.open(folder / "model-1")
    (folder / index).rename(store / index)
    (folder / index).symlink_to(store / index)
    assert value(folder / "model-1") == 1


def test_state_file_of_tensorflow(tmp_path: Path) -> None:
    """The state file that TensorFlow writes, with a name that it has to escape."""
    folder = tmp_path / "größe \"q\" 'a'"
    model = tf.train.Checkpoint(x=tf.Variable(4.0))
    for absolute in (True, False):
        prefix = model.write(str(folder / "m'\"ü"))
        tf.compat.v1.train.update_checkpoint_state(
            str(folder), prefix if absolute else Path(prefix).name
        )
        assert tf.train.latest_checkpoint(str(folder)) == prefix
        assert value(folder) == 4
        with initreg.open(folder) as arrays:
            assert arrays["x"].value.file == Path(f"{prefix}.data-00000-of-00001")


def test_state_text() -> None:
    """Quotes of both kinds and escapes are read as protobuf reads them, and other fields are not
    confused with it."""
    found = {
        b'model_checkpoint_path: "a"': "a",
        b"all_model_checkpoint_paths: 'b'\nmodel_checkpoint_path : 'a'": "a",
        rb'model_checkpoint_path: "\303\274 \x41\n\"\\"': 'ü A\n"\\',
        b'all_model_checkpoint_paths: "b"': None,
        b'model_checkpoint_path: ""': None,
        b'model_checkpoint_path: "a': None,
        b"": None,
    }
    assert {text: checkpoint_path(text) for text in found} == found


def test_state_file_that_points_nowhere(folder: Path) -> None:
    """The error says what the file states and what exists instead."""
    path = state(folder, "model-3")
    for given in (folder, path):
        with pytest.raises(SourceNotFound) as caught:
            initreg.open(given)
        text = str(caught.value)
        assert "'model-3', which does not exist" in text
        assert "model-1, model-2" in text
        assert str(path) in text


@pytest.mark.parametrize("text", ["", 'all_model_checkpoint_paths: "a"', "nonsense"])
def test_state_file_that_says_nothing(folder: Path, text: str) -> None:
    """An empty or damaged state file is an error with its name. In a folder it is ignored."""
    (folder / "checkpoint").write_text(text)
    assert "no model_checkpoint_path" in problem(folder / "checkpoint")
    assert "2 checkpoints" in problem(folder)


def test_binary_file_called_checkpoint(tmp_path: Path) -> None:
    """Something else that is called ``checkpoint`` is not claimed."""
    (tmp_path / "checkpoint").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(UnknownFormat, match="pickle"):
        initreg.open(tmp_path / "checkpoint")


def test_folder_of_one_and_of_several(folder: Path) -> None:
    """Without a state file a folder means its only checkpoint. If there are several, none is
    chosen."""
    text = problem(folder)
    assert "2 checkpoints" in text
    assert "model-1, model-2" in text
    for file in folder.glob("model-1.*"):
        file.unlink()
    assert value(folder) == 2


def test_folder_with_another_index(folder: Path, tmp_path: Path) -> None:
    """Files of other programs that end in .index do not count."""
    (folder / "search.index").write_bytes(b"IxFI" + bytes(100))
    for file in folder.glob("model-1.*"):
        file.unlink()
    assert value(folder) == 2
    other = tmp_path / "other"
    other.mkdir()
    (folder / "search.index").rename(other / "search.index")
    with pytest.raises(UnknownFormat):
        initreg.open(other)


def test_prefix_that_is_also_a_folder(folder: Path) -> None:
    """A folder without a checkpoint, beside an index of its name, means that index."""
    (folder / "model-1").mkdir()
    (folder / "model-1" / "notes.txt").write_text("nothing")
    assert value(folder / "model-1") == 1
    assert value(f"{folder / 'model-1'}/") == 1


def test_saved_model(tmp_path: Path) -> None:
    """A SavedModel's folder, its graph file and the folder of its variables mean the same."""
    module = tf.Module()
    module.x = tf.Variable(5.0)
    tf.saved_model.save(module, str(tmp_path))
    for part in ("", "saved_model.pb", "variables", "variables/variables"):
        assert value(tmp_path / part) == 5
    shutil.rmtree(tmp_path / "variables")
    for part in ("", "saved_model.pb"):
        assert "a SavedModel without variables/variables.index" in problem(tmp_path / part)


def test_data_without_its_index(folder: Path) -> None:
    """Data files alone are claimed, and the error says that the index is missing."""
    (folder / "model-1.index").unlink()
    (folder / "model-2.index").unlink()
    for name in ("model-1", "model-1.data-00000-of-00001"):
        assert f"{folder / 'model-1.index'} is missing" in problem(folder / name)
    assert "model-1.index is missing" in problem(folder)
    state(folder, "model-2")
    assert "model-2.index is missing" in problem(folder)


def test_index_without_its_data(folder: Path) -> None:
    """The error names the data file that is missing, and where it should be."""
    (folder / "model-1.data-00000-of-00001").unlink()
    with pytest.raises(DamagedFile, match=r"missing 1 of the 1 data files: model-1\.data-0") as e:
        initreg.open(folder / "model-1")
    assert str(folder) in str(e.value)


def test_index_under_another_name(folder: Path) -> None:
    """An index with another name is recognised, and the error says which name it needs."""
    (folder / "model-1.index").rename(folder / "weights")
    with pytest.raises(DamagedFile, match=r"is not named <prefix>\.index"):
        initreg.open(folder / "weights")


def test_nothing_there(folder: Path, tmp_path: Path) -> None:
    """A prefix without files is not found, and the message gives similar names."""
    with pytest.raises(SourceNotFound, match="model-1"):
        initreg.open(folder / "model-")
    for format in (None, "tf_checkpoint"):
        with pytest.raises(SourceNotFound):
            initreg.open(tmp_path / "gone" / "model", format=format)
        with pytest.raises(InitregError):
            initreg.open(folder / ("m" * 300), format=format)
        with pytest.raises(InitregError):
            initreg.open(folder / "m\0", format=format)


def test_asked_for_by_name(tmp_path: Path) -> None:
    """``format="tf_checkpoint"`` for something else is an InitregError."""
    (tmp_path / "a.txt").write_text("text")
    for thing in (tmp_path, tmp_path / "a.txt", {"x": 1}, 3):
        with pytest.raises(InitregError):
            initreg.open(thing, format="tf_checkpoint")


def test_no_other_file_is_opened(folder: Path) -> None:
    """A pipe in the place of a data file or an index is an error, and is not waited for."""
    data = folder / "model-1.data-00000-of-00001"
    data.unlink()
    os.mkfifo(data)
    with pytest.raises(DamagedFile, match="is not a file"):
        initreg.open(folder / "model-1")
    (folder / "model-2.index").unlink()
    os.mkfifo(folder / "model-2.index")
    for name in ("model-2", "model-2.index", "model-2.data-00000-of-00001"):
        with pytest.raises(InitregError, match=r"/model-2\b"):
            initreg.open(folder / name)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that any user may enter; pytest's own are its user's alone."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def unprivileged() -> Iterator[Callable[[], None]]:
    """Go on as a user without rights, until the test ends: root may read every file."""
    before = os.geteuid()
    yield lambda: os.seteuid(65534) if before == 0 else None
    os.seteuid(before)


def test_unreadable(
    tables: SimpleNamespace, public: Path, unprivileged: Callable[[], None]
) -> None:
    """An index without read permission is one error that says so."""
    tables.save(public / "model-1", {"x": np.float32(1)})
    assert value(public / "model-1") == 1  # imports what is needed
    (public / "model-1.index").chmod(0)
    unprivileged()
    for name in ("model-1", "model-1.index"):
        with pytest.raises(InitregError, match="Permission denied"):
            initreg.open(public / name)
