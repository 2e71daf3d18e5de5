"""initreg verify: exit codes, text, JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import initreg
from initreg.cli import main


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    arrays = {"fc/W": np.ones((3, 4), "f4"), "fc/b": np.zeros(4, "f4")}
    return initreg.save(tmp_path / "m.safetensors", arrays, manifest=True)


def test_fine_is_0(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And says what was checked, for people and for machines."""
    assert main(["verify", str(saved)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{saved}: fine (safetensors, 2 arrays, 64 B)",
        "  checked  the format's checksums of 0 of 2 arrays",
        "  checked  the digests of 2 of 2 arrays in m.safetensors.manifest.json",
        "  checked  all values: 0 NaN, 0 infinite",
    ]
    assert main(["verify", "--json", str(saved)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["ok"], answer["problems"]) == (True, [])
    assert answer["manifest"] == f"{saved}.manifest.json"
    assert answer["arrays"][0] == {
        "name": "fc/W",
        "shape": [3, 4],
        "dtype": "float32",
        "has_checksum": False,
        "in_manifest": True,
        "is_opaque": False,
        "nan": 0,
        "inf": 0,
        "problem": None,
    }


def test_not_fine_is_1(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A changed byte, a truncated file, values that are none; each is said in a line."""
    data = saved.read_bytes()
    saved.write_bytes(data[:-1] + b"\xff")
    assert main(["verify", str(saved)]) == 1
    assert "fc/b: its SHA-256 is not the manifest's" in capsys.readouterr().out
    saved.write_bytes(data[:-1])
    assert main(["verify", str(saved)]) == 1
    assert f"{saved}: cannot be opened" in capsys.readouterr().out
    assert main(["verify", "--json", str(saved)]) == 1
    assert json.loads(capsys.readouterr().out)["format"] is None


def test_values_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """1, unless --allow-nonfinite; --all shows all names."""
    names = [f"{chr(97 + i)}{chr(122 - i)}" for i in range(25)]
    arrays = {name: np.full(i + 1, np.nan) for i, name in enumerate(names)}
    path = str(initreg.save(tmp_path / "m.npz", arrays))
    assert main(["verify", path]) == 1
    assert "... and 5 names more" in capsys.readouterr().out
    assert main(["verify", path, "--all"]) == 1
    assert "yb: 25 NaN and 0 infinite of 25 values" in capsys.readouterr().out
    assert main(["verify", path, "--allow-nonfinite"]) == 0
    assert "checked  all values: 325 NaN, 0 infinite" in capsys.readouterr().out


def test_what_cannot_be_found_out_is_2(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No such file, no such manifest, no such format."""
    assert main(["verify", f"{saved}x"]) == 2
    assert main(["verify", str(saved), "--manifest", f"{saved}.json"]) == 2
    assert "no such manifest" in capsys.readouterr().err
    assert main(["verify", str(saved), "--manifest", f"{saved}.manifest.json"]) == 0


def test_convert_and_dump_write_manifests(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--manifest: what they wrote is verified by it."""
    for verb, options in (("convert", []), ("dump", ["--inference"])):
        out = tmp_path / f"{verb}.h5"
        assert main([verb, str(saved), str(out), "--manifest", *options]) == 0
        assert main(["verify", str(out)]) == 0
        assert f"the digests of 2 of 2 arrays in {out.name}.manifest" in capsys.readouterr().out
