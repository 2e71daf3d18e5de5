"""What a stranger's names cannot do to a terminal."""

from __future__ import annotations

import json
import struct
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

import initreg
from initreg import InitregWarning, RefusedFile, errors
from initreg.cli import main
from initreg.errors import printable

EVIL = "\x1b]0;title\x07\x1b[31mred\r\x9b2J\u202e"


def test_printable() -> None:
    """Characters that move the cursor, colour, reverse or end a line are escaped, unless kept."""
    assert printable("conv1/卷积 [é]") == "conv1/卷积 [é]"
    assert printable("\x1b[1m\r\n\t\x7f\u202e\u2028\x9b\ud800") == (
        r"\x1b[1m\r\n\t\x7f\u202e\u2028\x9b\ud800"
    )
    assert printable("a\nb\r\n", keep="\n") == "a\nb\\r\n"


KINDS = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Exception)]


@pytest.mark.parametrize("kind", KINDS)
def test_no_error_and_no_warning_has_control_characters(kind: type[Exception]) -> None:
    """Messages have no control characters, and messages of several lines keep their lines."""
    message = f"{EVIL}\n  second line"
    arguments: dict[type[Exception], tuple[object, ...]] = {
        errors.MissingLibrary: (EVIL, EVIL, f"\n  {EVIL}"),
        errors.PartialRestoreError: (message, (), ()),
    }
    text = str(kind(*arguments.get(kind, (message,))))
    assert r"\x1b]0;title\x07\x1b[31mred\r\x9b2J\u202e" in text
    assert text.replace("\n", "", 1).isprintable()
    assert "\n  " in text


def test_a_warning_as_it_is_shown() -> None:
    """A warning is escaped when Python shows it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn(EVIL, InitregWarning, stacklevel=1)
    shown = warnings.formatwarning(caught[0].message, InitregWarning, "m.py", 1, "")
    assert shown.replace("\n", "").isprintable()


def header(path: Path, content: object) -> Path:
    """A safetensors file with that header and 12 bytes."""
    text = json.dumps(content).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(12))
    return path


def sources(folder: Path) -> dict[str, Path]:
    """Files that have EVIL wherever a file has text."""
    made = {}
    tensor = {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}
    made["name"] = header(folder / "name.safetensors", {EVIL: tensor, "__metadata__": {EVIL: EVIL}})
    made["dtype"] = header(folder / "dtype.safetensors", {"a": tensor | {"dtype": EVIL}})
    made["shape"] = header(folder / "shape.safetensors", {EVIL: tensor | {"shape": [2]}})
    made["key"] = header(folder / "key.safetensors", {"a": tensor | {EVIL: 1}})
    made["index"] = folder / "model.safetensors.index.json"
    made["index"].write_text(json.dumps({"weight_map": {EVIL: f"{EVIL}.safetensors"}}))
    made["external"] = folder / "external.h5"
    with h5py.File(made["external"], "w") as file:
        file[EVIL] = h5py.ExternalLink(EVIL, EVIL)
    made["soft"] = folder / "soft.h5"
    with h5py.File(made["soft"], "w") as file:
        file[EVIL] = h5py.SoftLink(f"/{EVIL}")
    made["npz"] = folder / "m.npz"
    np.savez(made["npz"], **{EVIL: np.array([np.nan])})
    made["prefix"] = folder / "prefix.npz"  # a hint tells how to remove it
    np.savez(made["prefix"], **{f"{EVIL}/a": np.zeros((2, 2), "f4"), f"{EVIL}/b": np.zeros(1)})
    made["manifest"] = folder / "manifest.npz"
    initreg.save(made["manifest"], {"a": np.zeros(3, "f4")}, manifest=True)
    path = folder / "manifest.npz.manifest.json"
    content = json.loads(path.read_text())
    content["files"][EVIL] = content["files"]["manifest.npz"]
    content["arrays"]["a"]["dtype"] = EVIL
    content["arrays"][EVIL] = content["arrays"]["a"]
    path.write_text(json.dumps(content))
    made["state"] = folder / "run"
    made["state"].mkdir()
    (made["state"] / "checkpoint").write_bytes(
        b'model_checkpoint_path: "%s"\n' % EVIL.replace("\r", "\\r").encode()
    )
    return made


def test_what_is_printed_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No verb prints a control character, whatever text a file contains."""
    made = sources(tmp_path)
    model = tmp_path / "model.npz"
    np.savez(model, a=np.zeros((2, 2), "f4"), b=np.zeros(1))
    for what, path in made.items():
        said = ""
        for verb in (
            ["probe", str(path)],
            ["ls", str(path)],
            ["verify", str(path)],
            ["plan", str(path), "--onto", str(model)],
            ["plan", str(model), "--onto", str(path)],
            ["plan", str(path), "--onto", str(model), "--drop", EVIL],
            ["convert", str(path), str(tmp_path / "out.npz")],
            ["dump", str(path), str(tmp_path / "out.npz")],
        ):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", InitregWarning)
                main(verb)
            out, err = capsys.readouterr()
            assert out or err, (what, verb)
            for line in (out + err).split("\n"):
                assert line.isprintable(), (what, verb[0], line)
            said += out + err
        assert r"\x1b[31mred" in said, what  # it is told, and so it could have done harm


def test_a_part_is_not_called_so(tmp_path: Path) -> None:
    """An index that names a file with control characters is refused, even if the file exists."""
    name = "a\x1b[31m.safetensors"
    header(tmp_path / name, {"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}})
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(RefusedFile, match="is not a plain file name"):
        initreg.open(index)
