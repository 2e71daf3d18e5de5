"""The PyTorch files that the PyPI package facenet-pytorch ships: pickles, which no format opens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import initreg
from initreg import SmartInit, UnknownFormat
from initreg.cli import main

NAMES = ("onet.pt", "pnet.pt", "rnet.pt")


@pytest.fixture(scope="session")
def folder(wheel: Callable[[str], Path]) -> Path:
    return wheel("facenet-pytorch==2.6.0") / "facenet_pytorch" / "data"


@pytest.mark.parametrize("name", NAMES)
def test_no_format_claims_it(folder: Path, name: str) -> None:
    """Every installed format declines a real PyTorch file, and none fails while doing so."""
    probe = initreg.probe(folder / name)
    assert probe.winner is None
    assert probe.claims == ()
    assert dict(probe.failed) == {}
    assert {"h5", "mapping", "npy", "npz", "safetensors", "tf_checkpoint"} <= set(probe.declined)


@pytest.mark.parametrize("name", NAMES)
def test_the_error_says_what_it_is_and_what_to_do(folder: Path, name: str) -> None:
    """The error names the file, PyTorch, the danger and the conversion; nothing is written."""
    target: dict[str, object] = {}
    with pytest.raises(UnknownFormat) as caught:
        SmartInit(folder / name).init(target)
    message = str(caught.value)
    assert str(folder / name) in message
    assert "PyTorch" in message
    assert "pickle" in message
    assert "can run code" in message
    assert "safetensors.torch.save_file(torch.load(path, weights_only=True)" in message
    assert target == {}


def test_probe_answers_no(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """'initreg probe' prints what the file is and exits with 1: the answer is no."""
    assert main(["probe", str(folder / "pnet.pt")]) == 1
    printed = capsys.readouterr().out
    assert "no installed format claims it" in printed
    assert "PyTorch" in printed
    assert "safetensors" in printed


def test_ls_cannot(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """'initreg ls' has nothing to list: exit code 2 and the same explanation on stderr."""
    assert main(["ls", str(folder / "pnet.pt")]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "PyTorch" in printed.err
