"""How many lines a text may have: every result that can be printed takes the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import RuleError, SmartInit

ARRAYS = {f"{word}/w": np.full(2, i, "f4") for i, word in enumerate(["north", "east", "south"])}
OTHERS = {name: array + 1 for name, array in ARRAYS.items()}


def _file(folder: Path) -> str:
    path = str(folder / "a.npz")
    np.savez(path, **{**ARRAYS, "bad": np.array([np.nan])})
    return path


TEXTS: dict[str, Callable[[Path], Callable[..., str]]] = {
    "plan": lambda _: SmartInit(ARRAYS).plan({name: np.zeros(2, "f4") for name in ARRAYS}).to_text,
    "plan of nothing": lambda _: SmartInit({"a": np.ones(1)}).plan({}).to_text,
    "diff": lambda _: initreg.diff(ARRAYS, OTHERS).to_text,
    "equal": lambda _: initreg.diff(ARRAYS, ARRAYS).to_text,
    "layers": lambda _: lambda limit: initreg.diff(ARRAYS, OTHERS).to_text(limit, fold=True),
    "verify": lambda folder: initreg.verify(_file(folder)).to_text,
    "merge": lambda folder: initreg.merge([ARRAYS, OTHERS], folder / "m.npz", dry_run=True).to_text,
    "dump": lambda folder: (
        initreg.dump(_file(folder), str(folder / "o.npz"), inference=True).to_text
    ),
}


@pytest.mark.parametrize("made", TEXTS.values(), ids=TEXTS)
def test_what_is_no_number_of_lines_is_one_error(
    made: Callable[[Path], Callable[..., str]], tmp_path: Path
) -> None:
    """It says what was passed and what to pass. Any integer and None are taken."""
    to_text = made(tmp_path)
    wrong: list[Any] = [-1, np.int64(-5), 1.5, "a", True, [1]]
    for limit in wrong:
        with pytest.raises(
            RuleError, match=r"^limit is .*: give a number of lines of at least 0, or"
        ):
            to_text(limit)
    assert to_text(np.int64(3)) == to_text(3)
    counts = [len(to_text(limit).splitlines()) for limit in (0, 1, 2, None)]
    assert counts[0] <= counts[1] <= counts[2]
    assert counts[3] > 0
