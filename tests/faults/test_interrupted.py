"""Ctrl-C at any moment of a save leaves the old or the new file, and no other ones.

The interrupt is raised at a line of initreg, as Python raises it between two instructions. The
lines of a save are tried one after the other.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import initreg
from initreg.storage import output as output_module

HOME = str(Path(initreg.__file__).parent)
PLUGINS = (
    str(Path(sys.modules["initreg_formats"].__file__ or "").parent)
    if ("initreg_formats" in sys.modules)
    else HOME
)
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "shards": ("m.safetensors", {"shard_size": 400}),
    "a checkpoint": ("m.ckpt", {}),
    "npz": ("m.npz", {"manifest": True}),
    "HDF5": ("m.h5", {}),
}
POINTS = 60


class Interrupt:
    """Counts the lines of initreg that run, and raises KeyboardInterrupt at one of them."""

    def __init__(self, at: int = -1, files: tuple[str, ...] = ()) -> None:
        self.count, self.at, self.files = 0, at, files

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith((HOME, PLUGINS)) or (self.files and not name.endswith(self.files)):
            return None
        if event == "line":
            self.count += 1
            if self.count == self.at:
                raise KeyboardInterrupt
        return self

    def __enter__(self) -> Interrupt:
        self._before = sys.gettrace()
        sys.settrace(self)
        return self

    def __exit__(self, *exception: object) -> None:
        sys.settrace(self._before)


def save(path: Path, value: int, options: dict[str, Any]) -> Path:
    return initreg.save(path, {key: np.full(100, value, "f4") for key in "abc"}, **options)


def settle(path: Path, options: dict[str, Any], wanted: list[str]) -> None:
    """Later saves have the old names back, and nothing else is in the folder."""
    for _ in range(3):
        save(path, 3, options)
        if sorted(os.listdir(path.parent)) == wanted:
            return
    assert sorted(os.listdir(path.parent)) == wanted


# Where files are made, renamed and removed, every line is tried. Elsewhere a sample of them.
STORAGE = ("storage/output.py", "storage/journals.py", "storage/flushing.py")


# A file object that the interrupt cut off from its variable is closed when it is collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "files",
    [
        pytest.param((), id="anywhere"),
        pytest.param(STORAGE, id="storage", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("case", CASES)
def test_interrupted_at_any_line(
    tmp_path: Path, case: str, files: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old or the new arrays are there, whole. Only files that are cut off in the one line
    between their creation and their bookkeeping may stay for the next clean-up."""
    monkeypatch.setattr(output_module, "_STALE", -1.0)
    name, options = CASES[case]
    (tmp_path / "count").mkdir()
    save(tmp_path / "count" / name, 1, options)
    wanted = sorted(os.listdir(tmp_path / "count"))
    with Interrupt(files=files) as counting:
        save(tmp_path / "count" / name, 2, options)
    step = max(1, counting.count // (POINTS if not files else 250))
    outcomes = set()
    for at in range(1, counting.count, step):
        folder = tmp_path / str(at)
        folder.mkdir()
        opened_by = save(folder / name, 1, options)
        try:
            with Interrupt(at, files):
                save(folder / name, 2, options)
        except KeyboardInterrupt:
            pass
        values = {float(v) for a in initreg.load(opened_by).values() for v in np.unique(a)}
        assert values in ({1.0}, {2.0}), at
        assert initreg.verify(opened_by).ok, at
        outcomes |= values
        settle(folder / name, options, wanted)
    assert outcomes == {1.0, 2.0}
