"""initreg.rules.boxes: slice= of several axes, in Python, in rule files and on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import RuleError
from initreg.cli import main

A = np.arange(48, dtype="f4").reshape(6, 8)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return Path(initreg.save(tmp_path / "a.npz", {"a": A, "b": A[0]}))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((slice(0, 2), slice(4, 8)), A[0:2, 4:8]),
        ((slice(None), slice(-3, None)), A[:, -3:]),
        ([slice(1, -1)], A[1:-1]),
        (slice(4, None), A[4:]),
        ("0:2, 4:8", A[0:2, 4:8]),
        (":,2:3", A[:, 2:3]),
        ((1, 0, 2), A[:, 0:2]),  # an axis, a start and a stop, as before
    ],
)
def test_as_numpy_slices(source: Path, given: Any, expected: Any) -> None:
    """A slice for each of the first axes takes what numpy takes."""
    found = initreg.load(source, slice={"a": given})
    np.testing.assert_array_equal(found["a"], expected)
    np.testing.assert_array_equal(found["b"], A[0])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("0:2,0:9", r"\[0:2, 0:9\] is empty or out of range for shape \(6, 8\)"),
        ("2:2", r"\[2:2\] is empty"),
        ("-9:", r"\[-9:\] is empty or out of range"),
        ((slice(0, 1),) * 3, "slices of 3 axes, and shape .* has 2"),
        ((slice(0, 4, 2),), "give .*a slice for each axis"),
        ((slice(0, 4), 1), "give .*a slice for each axis"),
        ("0-2", "give .*a slice for each axis"),
        (slice("x", None), "give .*a slice for each axis"),
    ],
)
def test_what_is_no_box(source: Path, given: Any, message: str) -> None:
    """Steps, single indices, and what is not in the array are errors that name the rule."""
    with pytest.raises(RuleError, match=rf"slice=.*{message}"):
        initreg.load(source, slice={"a": given})


def test_only_the_box_is_read(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan says what is cut, and a byte outside of the box does not matter."""
    content = bytearray(source.read_bytes())
    content[content.index(A[5, 7].tobytes())] ^= 1
    source.write_bytes(content)
    target = {"a": np.zeros((2, 4), "f4")}
    plan = initreg.SmartInit(source, slice={"a": "0:2, 4:8"}, ignore="b").init(target)
    np.testing.assert_array_equal(target["a"], A[:2, 4:])
    assert plan[0].changes == ("sliced [0:2, 4:8] from (6, 8)",)


@pytest.mark.parametrize("given", ["0:2, 4:8", (slice(0, 2), slice(4, 8))])
def test_in_a_rule_file(source: Path, tmp_path: Path, given: Any) -> None:
    """It is written as text, and read again as the same rule."""
    path = tmp_path / "rules.toml"
    path.write_text('[slice]\n"a" = "0:2, 4:8"\n')
    np.testing.assert_array_equal(initreg.load(source, rules=path)["a"], A[:2, 4:])
    from initreg.rules.writing import file_text

    assert file_text([({"slice": {"a": given}}, None)]) == path.read_text()


def test_on_the_command_line(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--slice takes the text."""
    assert main(["ls", str(source), "--slice", "a=:, -4:"]) == 0
    assert "(6, 4)" in capsys.readouterr().out
