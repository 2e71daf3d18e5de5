"""The functions of tensorpack's varmanip, beside tensorpack's own."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import tensorflow as tf

import initreg
from initreg import RefusedFile, SourceNotFound, TargetError, UnknownFormat
from initreg.varmanip import (
    dump_session_params,
    get_all_checkpoints,
    get_checkpoint_path,
    load_checkpoint_vars,
    load_chkpt_vars,
    save_checkpoint_vars,
    save_chkpt_vars,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it uses escapes and TensorFlow names of 2019
    from tensorpack.tfutils import varmanip as theirs

v1 = tf.compat.v1
# tensorpack reads a checkpoint through a name that TensorFlow has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorpack")

ARRAYS = {
    "fc/W:0": np.arange(6, dtype="float32").reshape(2, 3),
    "fc/b": np.full(3, 2, "float16"),
    "step:0": np.array(7, "int64"),
}


def equal(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert np.asarray(a[name]).dtype == np.asarray(b[name]).dtype, name
        assert np.array_equal(a[name], b[name]), name


def test_aliases() -> None:
    """Both names of each are one function."""
    assert load_chkpt_vars is load_checkpoint_vars
    assert save_chkpt_vars is save_checkpoint_vars


@pytest.mark.parametrize("name", ["model-100", "a.npz", "a.tfmodel", "a.ckpt", "a.ckpt-7"])
def test_each_reads_what_the_other_writes(name: str, tmp_path: Path) -> None:
    """Ours and tensorpack's functions give the same dict for the file of either."""
    ours, other = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    other.mkdir()
    save_chkpt_vars(ARRAYS, ours / name)
    theirs.save_chkpt_vars(ARRAYS, str(other / name))
    want = {key.removesuffix(":0"): value for key, value in ARRAYS.items()}
    for folder in (ours, other):
        equal(load_chkpt_vars(folder / name), want)
        equal(theirs.load_chkpt_vars(str(folder / name)), want)


def test_any_known_ending_is_its_format(tmp_path: Path) -> None:
    """What tensorpack would have made a checkpoint of is written as its ending says."""
    save_chkpt_vars(ARRAYS, tmp_path / "a.safetensors")
    with initreg.open(tmp_path / "a.safetensors") as opened:
        assert opened.format == "safetensors"
        assert sorted(opened) == ["fc/W", "fc/b", "step"]


def test_npz_is_packed(tmp_path: Path) -> None:
    """As tensorpack's was."""
    save_chkpt_vars({"w": np.zeros(100_000)}, tmp_path / "a.npz")
    assert (tmp_path / "a.npz").stat().st_size < 10_000


def test_npy_is_refused(tmp_path: Path) -> None:
    """It would be a checkpoint under the name of an array."""
    with pytest.raises(UnknownFormat, match="one array"):
        save_chkpt_vars(ARRAYS, tmp_path / "a.npy")
    assert os.listdir(tmp_path) == []


def test_no_graph_is_built(tmp_path: Path) -> None:
    """What is saved is in nobody's graph, which could not hold more than 2 GB."""
    with tf.Graph().as_default() as graph:
        save_chkpt_vars(ARRAYS, tmp_path / "model-1")
        assert graph.get_operations() == []


# --- sessions -----------------------------------------------------------------------------------


def test_dump_session_params_as_tensorpack(tmp_path: Path) -> None:
    """The global variables that are TRAINABLE or MODEL ones, from a finalized graph, too."""
    with tf.Graph().as_default() as graph, v1.Session() as session:
        v1.get_variable("w", [2, 3])
        v1.get_variable("b", [3], use_resource=False)
        v1.get_variable("slot", [3], trainable=False)
        both = ["variables", "model_variables"]
        v1.get_variable("mean", [3], trainable=False, collections=both)
        local = ["local_variables", "model_variables"]
        v1.get_variable("seen", [], trainable=False, collections=local)
        session.run([v1.global_variables_initializer(), v1.local_variables_initializer()])
        theirs.dump_session_params(str(tmp_path / "theirs.npz"))
        graph.finalize()
        dump_session_params(tmp_path / "ours-1")
        dump_session_params(tmp_path / "given-1", session=session)
    want = theirs.load_chkpt_vars(str(tmp_path / "theirs.npz"))
    assert set(want) == {"w", "b", "mean"}
    equal(load_chkpt_vars(tmp_path / "ours-1"), want)
    equal(load_chkpt_vars(tmp_path / "given-1"), want)


def test_dump_session_params_of_parts_and_of_both_collections(tmp_path: Path) -> None:
    """A partitioned variable is saved whole; one that is in both collections once, where
    tensorpack gave up."""
    with tf.Graph().as_default(), v1.Session() as session:
        parts = v1.get_variable("parts", [5, 3], partitioner=v1.fixed_size_partitioner(2))
        both = ["variables", "model_variables", "trainable_variables"]
        v1.get_variable("w", [2], collections=both)
        session.run(v1.global_variables_initializer())
        whole = session.run(tf.convert_to_tensor(parts))
        dump_session_params(tmp_path / "ours-1")
    found = load_chkpt_vars(tmp_path / "ours-1")
    assert set(found) == {"parts", "w"}
    assert np.array_equal(found["parts"], whole)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow")
def test_dump_session_params_takes_no_step(tmp_path: Path) -> None:
    """The hooks of a monitored session do not see it."""
    with tf.Graph().as_default():
        v1.get_variable("w", initializer=3.0)
        v1.train.create_global_step()
        runs: list[Any] = []

        class Count(v1.train.SessionRunHook):  # type: ignore[misc]
            def before_run(self, context: Any) -> None:
                runs.append(context)

        with v1.train.MonitoredSession(hooks=[Count()]) as session:
            dump_session_params(tmp_path / "a-1", session)
    assert runs == []
    equal(load_chkpt_vars(tmp_path / "a-1"), {"w": np.float32(3)})


def test_dump_session_params_without_values(tmp_path: Path) -> None:
    """No session, and variables without values, are one error that says so; nothing is written."""
    with pytest.raises(TargetError, match="no default session"):
        dump_session_params(tmp_path / "a-1")
    with tf.Graph().as_default(), v1.Session():
        v1.get_variable("w", [2])
        with pytest.raises(TargetError, match="cannot be read"):
            dump_session_params(tmp_path / "a-1")
    assert os.listdir(tmp_path) == []


# --- paths --------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Checkpoints of two prefixes, out of order, among other files; the state names model-20."""
    for name in ("model-100", "model-20", "best-3"):
        with tf.Graph().as_default(), v1.Session() as session:
            v1.get_variable("w", initializer=float(name.split("-")[1]))
            session.run(v1.global_variables_initializer())
            path = str(tmp_path / name)
            v1.train.Saver().save(session, path, write_meta_graph=False, write_state=False)
    v1.train.update_checkpoint_state(str(tmp_path), str(tmp_path / "model-20"))
    (tmp_path / "model-last.index").write_bytes(b"")
    (tmp_path / "xmodel-1.index").write_bytes(b"")
    return tmp_path


def test_get_all_checkpoints(folder: Path) -> None:
    """By step and not by name; what is returned opens; other files are passed over."""
    found = get_all_checkpoints(folder)
    assert found == [(str(folder / "model-20"), 20), (str(folder / "model-100"), 100)]
    for path, step in found:
        assert load_chkpt_vars(path)["w"] == step
        assert tf.train.load_checkpoint(path).get_tensor("w") == step
    (folder / "model-last.index").unlink()  # over which tensorpack stumbles
    assert theirs.get_all_checkpoints(str(folder)) == [(f"{p}.index", step) for p, step in found]


def test_get_all_checkpoints_honours_its_prefix(folder: Path) -> None:
    """As tensorpack's did not; a prefix and a folder may have any characters."""
    assert get_all_checkpoints(str(folder), "best") == [(str(folder / "best-3"), 3)]
    assert get_all_checkpoints(folder, "b*t") == []
    odd = folder / "[odd]"
    odd.mkdir()
    (odd / "a[1]-2.index").write_bytes(b"")
    assert get_all_checkpoints(odd, "a[1]") == [(str(odd / "a[1]-2"), 2)]
    with pytest.raises(SourceNotFound, match="gone: no such folder"):
        get_all_checkpoints(folder / "gone")


@pytest.mark.parametrize(
    "name", ["model-100", "model-100.index", "model-100.data-00000-of-00001", "checkpoint"]
)
def test_get_checkpoint_path_as_tensorpack(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prefix, by each of its files or by the state file; a bare name gets ./ before it."""
    assert get_checkpoint_path(folder / name) == theirs.get_checkpoint_path(str(folder / name))
    monkeypatch.chdir(folder)
    ours, other = get_checkpoint_path(name), theirs.get_checkpoint_path(name)
    assert os.path.samefile(f"{ours}.index", f"{other}.index")
    assert ours.startswith(("./", str(folder)))


def test_get_checkpoint_path_goes_further(folder: Path, tmp_path: Path) -> None:
    """A folder means its latest checkpoint, also one that was moved; of nothing, an error."""
    assert get_checkpoint_path(folder) == str(folder / "model-20")
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    shutil.rmtree(moved / "moved", ignore_errors=True)
    (moved / "checkpoint").write_text('model_checkpoint_path: "/gone/run/model-100"\n')
    assert get_checkpoint_path(moved / "checkpoint") == str(moved / "model-100")
    (moved / "checkpoint").write_text('model_checkpoint_path: "model-7"\n')
    with pytest.raises(SourceNotFound, match="points to 'model-7', which does not exist"):
        get_checkpoint_path(moved)
    with pytest.raises(SourceNotFound, match=r"model-10: no such .*checkpoint\. Similar names: "):
        get_checkpoint_path(folder / "model-10")


def test_get_checkpoint_path_stays_in_the_folder(folder: Path) -> None:
    """A state file that points out of its folder is refused; one that points below is followed."""
    below = folder / "below"
    shutil.copytree(folder, below)
    (folder / "checkpoint").write_text('model_checkpoint_path: "below/model-100"\n')
    assert get_checkpoint_path(folder) == str(below / "model-100")
    for file in below.glob("model-*"):
        file.unlink()
    for named in ("../model-20", f"{folder}/model-20"):
        (below / "checkpoint").write_text(f'model_checkpoint_path: "{named}"\n')
        with pytest.raises(RefusedFile, match=r"below/checkpoint: points out of its folder, to "):
            get_checkpoint_path(below)


def test_checkpoints_in_a_store(folder: Path) -> None:
    """URLs give URLs, which open, and a folder that is missing is an error."""
    fs = fsspec.filesystem("memory")
    fs.put(str(folder), "varmanip-run", recursive=True)
    url = "memory://varmanip-run"
    assert get_all_checkpoints(url) == [(f"{url}/model-20", 20), (f"{url}/model-100", 100)]
    assert get_all_checkpoints(f"{url}/", "best")[0][1] == 3
    for given in (url, f"{url}/model-20", f"{url}/model-20.index", f"{url}/checkpoint"):
        found = get_checkpoint_path(given)
        assert found == f"{url}/model-20"
        assert load_chkpt_vars(found)["w"] == 20
    save_chkpt_vars({"w:0": np.ones(3)}, f"{url}/new-1")
    assert load_chkpt_vars(f"{url}/new-1")["w"].tolist() == [1, 1, 1]
    with pytest.raises(SourceNotFound, match="memory://nowhere: no such folder"):
        get_all_checkpoints("memory://nowhere")
    with pytest.raises(SourceNotFound, match=f"{url}/nope"):
        get_checkpoint_path(f"{url}/nope")
    fs.rm("varmanip-run", recursive=True)


def test_importing_it_imports_no_tensorflow() -> None:
    """TensorFlow is imported by the one function that reads a session."""
    import subprocess
    import sys

    code = "import sys, initreg.varmanip; assert 'tensorflow' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
