"""Checkpoints that Orbax writes give the arrays that were saved."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flax.serialization
import initreg
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import pytest
import tensorstore
from initreg.testing import FormatContract, Sample, same

Array = np.ndarray[Any, Any]

LAYOUTS = {
    "database": {"use_ocdbt": True},
    "database of zarr 3": {"use_ocdbt": True, "use_zarr3": True},
    "files": {"use_ocdbt": False},
    "files of zarr 3": {"use_ocdbt": False, "use_zarr3": True},
}
DTYPES = (
    *("float64", "float32", "float16", "complex64", "complex128", "bool"),
    *("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"),
)
OTHERS = ("bfloat16", "float8_e4m3fn", "float8_e5m2")


def arrays() -> dict[str, Any]:
    """Parameters in dicts and lists: each dtype, and unusual shapes and names."""
    found: dict[str, Any] = {name: np.arange(1, 7).reshape(2, 3).astype(name) for name in DTYPES}
    found |= {
        name: np.arange(1, 7).reshape(2, 3).astype(getattr(ml_dtypes, name)) for name in OTHERS
    }
    dense = {"kernel": np.ones((2, 2), "f4"), "größe": np.ones(1, "f4"), "a.b": np.zeros(2, "f4")}
    return {
        "params": found | {"Dense_0": dense, "layers": [np.zeros(3, "f4"), np.ones(1, "f4")]},
        "scalar": np.array(2.5, "f4"),
    }


def flat(found: Any, name: str = "") -> dict[str, Array]:
    if isinstance(found, (list, tuple)):
        found = {str(number): each for number, each in enumerate(found)}
    if not isinstance(found, dict):
        return {name: np.asarray(found)}
    parts = (flat(each, f"{name}/{key}" if name else str(key)) for key, each in found.items())
    return {key: value for part in parts for key, value in part.items()}


def save(path: Path, tree: Any, layout: str = "database") -> Path:
    """By Orbax, which warns of how it is called."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**LAYOUTS[layout])) as saver:
            saver.save(path.absolute(), tree)
    return path


def read(path: Path, **options: Any) -> dict[str, Array]:
    return initreg.load(path, native=True, **options)


class TestOrbax(FormatContract):
    """The kit: every dtype, in a database and in files, of both versions of zarr."""

    format = "jax"
    options = {"native": True}
    flips = 8
    exempt = {
        "truncation": "a database may end after what was written first, and is read to there",
        "stores": "tensorstore opens the folder",
        "memory": "tensorstore allocates outside of Python, in proportion to what it is asked for",
    }

    def samples(self, folder: Path) -> Iterator[Sample]:
        """All dtypes in a database, and a few arrays in each other layout."""
        few = {"w": np.arange(6, dtype="f4").reshape(2, 3), "b": np.ones(2, "i2")}
        for number, layout in enumerate(LAYOUTS):
            tree = few if number else arrays()
            path = save(folder / f"{number}", tree, layout)
            files = [each for each in sorted(path.rglob("*")) if each.is_file()]
            yield Sample(path, flat(tree), files=files)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_parts_of_arrays_are_read_alone(tmp_path: Path, layout: str) -> None:
    """A part is what the whole array has there, with and without chunks."""
    tree = {"w": np.arange(60, dtype="f4").reshape(3, 4, 5)}
    path = save(tmp_path / "m", tree, layout)
    with initreg.open(path, native=True) as found:
        for index in ((1,), (slice(1, 3), slice(None), 2), (..., slice(4, 0, -2)), (0, 1, 2)):
            assert same(np.asarray(found["w"][index]), np.asarray(tree["w"][index])), index
        assert same(found["w"].read(), tree["w"])


@pytest.mark.parametrize("layout", ["files", "files of zarr 3"])
def test_chunks_are_read_and_missed(tmp_path: Path, layout: str) -> None:
    """An array of several chunks is read, and one without a chunk is not filled with zeros."""
    tree = {"w": jnp.arange(48, dtype="float32").reshape(6, 8)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        handler = ocp.PyTreeCheckpointHandler(**LAYOUTS[layout])
        with ocp.Checkpointer(handler) as saver:
            arguments = {"w": ocp.SaveArgs(chunk_byte_size=64)}
            saver.save((tmp_path / "m").absolute(), tree, save_args=arguments)
    found = read(tmp_path / "m")
    assert same(found["w"], np.asarray(tree["w"]))
    chunks = [p for p in (tmp_path / "m" / "w").rglob("*") if p.is_file() and p.name[0].isdigit()]
    if len(chunks) > 1:  # zarr 3 puts them into one file
        with initreg.open(tmp_path / "m", native=True) as lazy:
            chunks[0].unlink()
            with pytest.raises(initreg.DamagedFile, match=r"'w'|was replaced"):
                lazy["w"].read()
        with pytest.raises(initreg.DamagedFile, match="array 'w' cannot be read"):
            read(tmp_path / "m")
    else:
        assert layout == "files of zarr 3"


def test_a_training_has_its_model_as_parameters(tmp_path: Path) -> None:
    """Numbers and texts are told apart, empty parts are left out, and the optimizer is known."""
    kernel = {"kernel": np.ones((2, 2), "f4")}
    tree = {"params": kernel, "opt_state": [{"mu": kernel}, {}], "step": 7, "rate": 0.5}
    path = save(tmp_path / "m", tree | {"note": "a text", "nothing": None})
    with initreg.open(path, native=True) as found:
        values = {name: array.read() for name, array in found.items()}
        assert found.not_arrays == ("note",)
        assert list(found.parameters or ()) == ["params/kernel"]
    assert values.keys() == {"params/kernel", "opt_state/0/mu/kernel", "step", "rate"}
    assert values["step"] == 7
    assert values["rate"] == 0.5


def managed(root: Path, steps: tuple[int, ...], **items: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with ocp.CheckpointManager(root.absolute()) as manager:
            for step in steps:
                kinds = {"notes": ocp.args.JsonSave}
                saved = {
                    name: kinds.get(name, ocp.args.StandardSave)(tree)
                    for name, tree in items.items()
                }
                args = ocp.args.Composite(**saved) if len(saved) > 1 else saved["default"]
                manager.save(step, args=args)
            manager.wait_until_finished()
    return root


def test_a_training_a_step_and_an_item_are_sources(tmp_path: Path) -> None:
    """The only step and the only tree of a folder are meant. Several are shown."""
    w = {"w": np.ones(2, "f4")}
    root = managed(tmp_path / "one", (3,), default=w)
    for path in (root, root / "3", root / "3" / "default"):
        assert read(path)["w"].tolist() == [1, 1]
    root = managed(tmp_path / "several", (3, 20), default=w)
    with pytest.raises(initreg.AmbiguousSource, match=rf"{root}/3, {root}/20"):
        read(root)
    root = managed(tmp_path / "notes", (3,), state=w, notes={"a": 1})
    assert read(root)["w"].tolist() == [1, 1]
    root = managed(tmp_path / "trees", (3,), state=w, ema=w)
    with pytest.raises(initreg.AmbiguousSource, match=r"which of its trees .*3/ema, .*3/state"):
        read(root)


def test_an_unfinished_checkpoint_is_refused(tmp_path: Path) -> None:
    """The folder that a killed save leaves is not taken for a checkpoint."""
    path = save(tmp_path / "m", {"w": np.ones(2, "f4")})
    path.rename(tmp_path / "m.orbax-checkpoint-tmp")
    with pytest.raises(initreg.DamagedFile, match="was not finished"):
        read(tmp_path / "m.orbax-checkpoint-tmp")


def test_the_layout_of_the_first_versions(tmp_path: Path) -> None:
    """msgpack with placeholders, and an array of zarr for each."""
    w = np.arange(6, dtype="f4").reshape(2, 3)
    (tmp_path / "m").mkdir()
    tree = {"params": {"w": "PLACEHOLDER://params.w"}, "note": "a text"}
    (tmp_path / "m" / "checkpoint").write_bytes(flax.serialization.msgpack_serialize(tree))
    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{tmp_path}/m/params.w/"}}
    store = tensorstore.open(spec, create=True, dtype="float32", shape=w.shape).result()
    store.write(w).result()
    assert initreg.probe(tmp_path / "m").winner == "jax"
    found = read(tmp_path / "m")
    assert same(found["params/w"], w)
    tree["params"]["v"] = "PLACEHOLDER://../other"
    (tmp_path / "m" / "checkpoint").write_bytes(flax.serialization.msgpack_serialize(tree))
    with pytest.raises(initreg.RefusedFile, match="outside of the checkpoint"):
        read(tmp_path / "m")


def test_the_user_must_allow_the_library(tmp_path: Path) -> None:
    """tensorstore parses nothing of a folder without native=True, and the error says so."""
    path = save(tmp_path / "m", {"w": np.ones(2, "f4")})
    code = (
        "import sys, initreg\n"
        "try: initreg.load('m')\n"
        "except initreg.InitregError as error: print(error)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "pass native=True" in run.stdout
    code = "import sys; sys.modules['tensorstore'] = None\n" + code
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "format 'jax', for Orbax checkpoints, needs tensorstore" in run.stdout
    assert "pip install 'initreg-jax[orbax]'" in run.stdout
    code = (
        "import sys, initreg; found = initreg.load('m', native=True); "
        "assert found['w'].tolist() == [1, 1], found; "
        "assert not {'jax', 'flax', 'orbax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=path.parent, check=True)


def changed(path: Path, change: Any) -> Path:
    file = path / "_METADATA"
    found = json.loads(file.read_text())
    change(found)
    file.write_text(json.dumps(found))
    return path


def entry(*keys: str) -> dict[str, Any]:
    return {"key_metadata": [{"key": key, "key_type": 2} for key in keys], "value_metadata": {}}


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        (lambda m: m.update(tree_metadata=[]), initreg.DamagedFile, "has no tree_metadata"),
        (lambda m: m["tree_metadata"].update(x={}), initreg.DamagedFile, "not as Orbax writes it"),
        (
            lambda m: m["tree_metadata"].update(x=entry("gone")),
            initreg.DamagedFile,
            "array 'gone' cannot be opened: tensorstore says 'NOT_FOUND",
        ),
        (
            lambda m: m["tree_metadata"].update(x=entry("a/../../b")),
            initreg.RefusedFile,
            "outside of the checkpoint",
        ),
        (lambda m: m["tree_metadata"].update(x=entry("w")), initreg.DuplicateName, "'w'"),
        (lambda m: m.update(use_zarr3="yes"), initreg.DamagedFile, "neither true nor false"),
        (lambda m: m.update(use_zarr3=True), initreg.DamagedFile, "array 'w' cannot be opened"),
    ],
)
@pytest.mark.parametrize("layout", ["database", "files"])
def test_metadata_that_do_not_fit_are_one_error(
    tmp_path: Path, layout: str, change: Any, error: type[Exception], reason: str
) -> None:
    """Arrays that are missing, that lie elsewhere or that are there twice are told."""
    path = changed(save(tmp_path / "m", {"w": np.ones(2, "f4")}, layout), change)
    with pytest.raises(error, match=reason):
        read(path)


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    """A file and a folder that are links are not followed; those of a cache of downloads are."""
    path = save(tmp_path / "m", {"w": np.ones(2, "f4")}, "files")
    chunk = path / "w" / "0"
    chunk.rename(tmp_path / "elsewhere")
    chunk.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(initreg.RefusedFile, match="link out of the folder"):
        read(path)
    chunk.unlink()
    shutil.move(path / "w", tmp_path / "folder")
    (path / "w").symlink_to(tmp_path / "folder")
    with pytest.raises(initreg.RefusedFile, match="its folder w is a link"):
        read(path)


def test_arrays_of_billions_in_a_small_folder_are_refused(tmp_path: Path) -> None:
    """A shape costs nothing to write: what it would take is compared with the files."""
    path = save(tmp_path / "m", {"w": np.ones(2, "f4")}, "files")
    file = path / "w" / ".zarray"
    found = json.loads(file.read_text())
    file.write_text(json.dumps(found | {"shape": [10**10], "chunks": [10**6]}))
    with pytest.raises(initreg.RefusedFile, match="all of its arrays together"):
        read(path)
