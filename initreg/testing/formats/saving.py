"""Does the format write what it reads, and write it atomically?"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg.arrays.array_map import ArrayMap
from initreg.arrays.reader import Reader
from initreg.dtypes import name_of, to_numpy
from initreg.errors import DamagedFile, InitregError, PluginError
from initreg.plugin.installed import default_registry
from initreg.testing.formats.base import Array, Base, Sample, fail, is_path, plain, same, what

_TEMPORARY = ".initreg-"  # how the names of temporary files begin
_DTYPES = [
    "bool",
    *(f"{kind}int{bits}" for kind in ("", "u") for bits in (8, 16, 32, 64)),
    *("float16", "float32", "float64", "complex64", "complex128", "bfloat16"),
    *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "int4", "uint4"),
]
_W = np.arange(6, dtype=np.float32).reshape(2, 3)
_OTHER = np.ones((40, 25), np.float32)
_UMASK = 0o027
_NAMES = [
    *(
        "größe/模型",
        " a ",
        "a.b-c",
        "a/b/c",
        "a\\b",
        "../a",
        "/a",
        "a/",
        "a//b",
        ".",
        "",
        "x" * 300,
    ),
    *("a\0b", "a\nb", "%41", "__metadata__", "a.npy", "a\ud800"),
]


class SavingTests(Base):
    """The part of the contract that is about writing, for formats that have ``initreg_save``.

    A format may be unable to store an array, or to honour an option. Then it raises an
    InitregError that names the array, or says what to do about the option. Everything that it
    writes reads back in every bit.
    """

    @pytest.fixture
    def saved(self, tmp_path: Path) -> Callable[..., Path]:
        """Saves arrays as ``model`` in a folder that has nothing else: the path to open them by."""
        registry = default_registry()
        if self.format not in registry.savers():
            pytest.skip(f"{self.format!r} has no initreg_save: it is read alone")
        endings = [end for end, name in registry.endings().items() if name == self.format]
        path = tmp_path / "saved" / f"model{endings[0] if endings else ''}"
        path.parent.mkdir()

        def save(arrays: Mapping[str, Any], path: Path = path, **options: Any) -> Path:
            return initreg.save(path, arrays, format=self.format, **options)

        return save

    def test_samples_are_saved(self, saved: Callable[..., Path], made: list[Sample]) -> None:
        """The arrays of each sample, if they are numbers, read back the same."""
        for sample in made:
            arrays = {name: array for name, array in sample.arrays.items() if plain(array)}
            self._round_trip(saved, arrays, what(sample))

    def test_samples_are_converted(self, saved: Callable[..., Path], made: list[Sample]) -> None:
        """Each sample itself, straight from its file, becomes a file with the same arrays."""
        for sample in made:
            if not is_path(sample) or not all(map(plain, sample.arrays.values())):
                continue
            with self._open(sample.source) as arrays:
                path = saved(arrays)
            found = self._read_all(path)
            if set(found) != set(sample.arrays):
                fail(f"{what(sample)}, converted, has the arrays {sorted(found)}")
            for name, array in sample.arrays.items():
                if not same(found[name], array):
                    fail(f"{what(sample)}, converted: {name!r} is\n{found[name]!r}")

    def test_saved_file_is_claimed(self, saved: Callable[..., Path]) -> None:
        """The format claims the path that save returns, among all installed formats."""
        winner = initreg.probe(saved({"w": _W})).winner
        if winner != self.format:
            fail(f"what initreg_save wrote goes to {winner}, not to {self.format!r}")

    def test_every_dtype_is_exact_or_refused(self, saved: Callable[..., Path]) -> None:
        """An array of each dtype, with any bits, reads back the same, or an error names it."""
        rng = np.random.default_rng(0)
        for dtype in map(to_numpy, _DTYPES):
            values: Array = rng.integers(0, 2, (3, 5)).astype(dtype)
            if (
                "int4" not in dtype.name and dtype.kind != "b"
            ):  # these have unused bits in their bytes
                bits = rng.integers(0, 256, 15 * dtype.itemsize, np.uint8)
                values = bits.view(dtype).reshape(3, 5)
            self._round_trip(saved, {"w": _W, "kind/of/w": values}, dtype.name, "kind/of/w")

    def test_every_shape_is_exact_or_refused(self, saved: Callable[..., Path]) -> None:
        """Arrays without axes, with an axis of 0, with many axes, and of unusual memory layout."""
        grid = np.arange(24, dtype=np.float64).reshape(2, 3, 4)
        frozen = _W.copy()
        frozen.flags.writeable = False
        odd = {
            "0-d": np.array(2.5, np.float32),
            "empty": np.zeros((0, 3), np.float32),
            "12 axes": _W.reshape(1, 1, 2, 1, 1, 1, 3, 1, 1, 1, 1, 1),
            "Fortran order": np.asfortranarray(grid),
            "strided": grid[:, ::-1, ::2],
            "read-only": frozen,
            "big-endian": grid.astype(">f8"),
        }
        for case, array in odd.items():
            self._round_trip(saved, {"w": _W, "odd": array}, case, "odd")
        self._round_trip(saved, {}, "no array at all")

    def test_every_name_is_kept_or_refused(self, saved: Callable[..., Path]) -> None:
        """Names of any characters read back as they are, or an error names the array."""
        for name in _NAMES:
            self._round_trip(saved, {"w": _W, name: _W + 1}, ascii(name), name)
        self._round_trip(saved, {"w": _W, "w/b": _W + 1}, "a name within a name", "w")
        self._round_trip(saved, {"w": _W, "W": _W + 1}, "names that differ in case", "W")

    def test_options_are_honoured_or_refused(self, saved: Callable[..., Path]) -> None:
        """``compress`` and ``shard_size`` change no array, or raise and leave nothing."""
        arrays = {f"w{i}": np.full((20, 10), i, np.float32) for i in range(5)}
        for options in ({"compress": True}, {"shard_size": 2000}):
            self._round_trip(saved, arrays, f"with {options}", next(iter(options)), **options)

    def test_metadata_is_kept_or_refused(self, saved: Callable[..., Path]) -> None:
        """Texts by key read back as they are, and the next save has none, or an error says so."""
        metadata = {"format": "pt", "größe": "模型\n\"'\\\0", "": "", "format ": "x" * 50}
        try:
            path = saved({"w": _W}, metadata=metadata)
        except InitregError as error:
            if isinstance(error, PluginError) or "metadata" not in str(error):
                fail(f"saving metadata raised {type(error).__name__}: {error}")
            return
        for expected in (metadata, {}):
            with self._open(path) as arrays:
                found = dict(arrays.metadata)
            if found != expected:
                fail(f"saved was the metadata {expected}, and read is {found}")
            path = saved({"w": _W})

    def test_what_numpy_lacks_is_copied_or_refused(
        self, saved: Callable[..., Path], tmp_path: Path
    ) -> None:
        """An array of a dtype of another format is refused by name: its bytes alone are known."""
        file = tmp_path / "opaque.bin"
        file.write_bytes(bytes(range(8)))
        reason = "array 'odd' has a dtype that numpy does not have"
        opaque = initreg.OpaqueExtent(file, 0, 8, (4, 4), "X4_OF_NO_FORMAT", reason)
        reader = Reader("opaque.bin")
        with ArrayMap({"odd": opaque}, label="opaque.bin", format="", reader=reader) as arrays:
            try:
                saved({"w": _W, "odd": arrays["odd"]})
            except InitregError as error:
                if isinstance(error, PluginError) or "odd" not in str(error):
                    fail(f"an array of an unknown dtype: {type(error).__name__}: {error}")
                return
        fail("an array whose dtype is unknown was saved. Look at array.spec.dtype")

    def test_nothing_is_visible_before_the_end(self, saved: Callable[..., Path]) -> None:
        """While arrays are read no new file is there, and the old ones are as they were."""
        folder = saved({"w": _W}).parent
        before = _contents(folder)
        seen: list[bool] = []
        arrays = {"w": _W, "x": _Watched(_W, lambda: seen.append(_contents(folder) == before))}
        path = saved(arrays)
        if not seen or not all(seen):
            fail("initreg_save wrote under a final name. Write to output.file(), and nowhere else")
        if not same(self._read_all(path)["x"], _W):
            fail("an array that is read late is saved wrong")

    def test_what_fails_midway_changes_nothing(self, saved: Callable[..., Path]) -> None:
        """If an array cannot be read, the old files stay, and no temporary file is left."""

        def fault() -> None:
            raise DamagedFile("somewhere: array 'z' is damaged")

        arrays = {"w": _W + 1, "y": _OTHER, "z": _Watched(_W, fault)}
        path = saved({"w": _W})
        before = _contents(path.parent, hidden=True)
        for old in (before, {}):
            with pytest.raises(InitregError) as caught:
                saved(arrays)
            if isinstance(caught.value, PluginError):
                fail(f"an error of reading must pass through initreg_save: {caught.value}")
            if _contents(path.parent, hidden=True) != old:
                fail(f"a save that failed left {sorted(os.listdir(path.parent))}")
            for name in os.listdir(path.parent):
                os.unlink(path.parent / name)

    def test_saving_again_replaces_all(self, saved: Callable[..., Path]) -> None:
        """A second save leaves no array and no file of the first, nor any temporary one."""
        saved({"w": _W, "old": _OTHER})
        counts = []
        for turn in range(4):
            path = saved({"w": _W + turn})
            found = self._read_all(path)
            if set(found) != {"w"} or not same(found["w"], _W + turn):
                fail(f"saved again, there are the arrays {sorted(found)}")
            left = sorted(os.listdir(path.parent))
            counts.append(len(left))
            # Their names may alternate, so that the old files stay until the new ones are complete.
            if counts[-1] > max(counts[:2]) or any(name.startswith(_TEMPORARY) for name in left):
                fail(f"saved again and again, there are {left}: output.obsolete() removes one")

    def test_modes_of_files(self, saved: Callable[..., Path]) -> None:
        """A new file has the mode of the umask. One that replaces a file has the mode of that."""
        previous = os.umask(_UMASK)
        try:
            folder = saved({"w": _W}).parent
            _expect_modes(folder, 0o666 & ~_UMASK, "new")
            for name in os.listdir(folder):
                os.chmod(folder / name, 0o604)
            names = set(os.listdir(folder))
            saved({"w": _W + 1})
            if names == set(os.listdir(folder)):
                _expect_modes(folder, 0o604, "replaced")
        finally:
            os.umask(previous)

    def test_any_path_will_do(self, saved: Callable[..., Path], tmp_path: Path) -> None:
        """A folder with blanks, '%', '#' and letters beyond ASCII; a path given as str."""
        folder = tmp_path / "größe 100% #1 模型"
        folder.mkdir()
        usual = saved({"w": _W})
        path = saved({"w": _W}, path=f"{folder}{os.sep}{usual.name}")
        if path.parent != folder or not same(self._read_all(path)["w"], _W):
            fail(f"saved to {folder}, and then not found there")

    def _round_trip(
        self,
        saved: Callable[..., Path],
        arrays: Mapping[str, Any],
        case: str,
        doubtful: str | None = None,
        **options: Any,
    ) -> None:
        """Save and read back. ``doubtful``: the array, or the option, that may be refused."""
        try:
            path = saved(arrays, **options)
        except InitregError as error:
            if isinstance(error, PluginError) or doubtful is None:
                fail(f"{case}: saving raised {type(error).__name__}: {error}")
            if not any(spelt in str(error) for spelt in (repr(doubtful), doubtful or "''")):
                fail(f"{case}: the error does not say that it is about {doubtful!r}: {error}")
            return
        found = self._read_all(path)
        if set(found) != set(arrays):
            fail(f"{case}: saved were {sorted(arrays)}, and there are {sorted(found)}")
        for name, array in arrays.items():
            expected = np.asarray(array, array.dtype.newbyteorder("="), order="C")
            if name_of(found[name].dtype) != name_of(expected.dtype):
                fail(f"{case}: {name!r} was {expected.dtype}, and reads as {found[name].dtype}")
            if not same(found[name], expected):
                fail(f"{case}: {name!r} reads as\n{found[name]!r}\nbut saved was\n{expected!r}")


class _Watched:
    """An array that calls a function when it is read."""

    def __init__(self, array: Array, called: Callable[[], None]) -> None:
        self.shape = array.shape
        self.dtype = array.dtype
        self._array = array
        self._called = called

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        self._called()
        return self._array.copy()


def _contents(folder: Path, hidden: bool = False) -> dict[str, bytes]:
    """The files in the folder: the visible ones, or with ``hidden`` the temporary ones."""
    names = [name for name in os.listdir(folder) if hidden or not name.startswith(_TEMPORARY)]
    return {name: (folder / name).read_bytes() for name in names}


def _expect_modes(folder: Path, mode: int, which: str) -> None:
    for file, found in _modes(folder):
        if found != mode:
            fail(f"a {which} file, {file}, has mode {found:o}, not {mode:o}: use output.file()")


def _modes(folder: Path) -> Iterator[tuple[str, int]]:
    for name in sorted(os.listdir(folder)):
        yield name, stat.S_IMODE((folder / name).stat().st_mode)
