"""What is printed: JSON on every locale, no control characters; and what if it cannot be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import initreg
from initreg.cli import main
from initreg.cli.printing import json_text

ODD = 'é \x9b31m \x7f \u202e \U0001f600 \U000e0001 \udcff \x00 \n \\ " \u2028'


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252"])
def test_json_is_json_in_every_encoding(encoding: str) -> None:
    """Any text comes back, and the bytes are those of the encoding, without controls."""
    text = json_text({ODD: [ODD, 1]}, encoding)
    assert json.loads(text.encode(encoding).decode(encoding)) == {ODD: [ODD, 1]}
    assert text.replace("\n", "").isprintable()


def test_json_has_no_nan() -> None:
    """NaN and infinities are texts, wherever they are in an answer."""
    answer = {"a": [1.5, float("nan"), {"b": (float("-inf"), "x", None, True)}], "c": float("inf")}
    found = json.loads(json_text(answer, "utf-8"), parse_constant=pytest.fail)
    assert found == {"a": [1.5, "nan", {"b": ["-inf", "x", None, True]}], "c": "inf"}


def test_json_keeps_what_can_be_printed() -> None:
    """Letters of other scripts stay letters where the encoding has them."""
    assert json_text("сеть\x9b", "utf-8") == '"сеть\\u009b"'
    assert json_text("é", "ascii") == '"\\u00e9"'
    assert json_text("\U000e0001", "utf-8") == '"\\udb40\\udc01"'  # a surrogate pair, RFC 8259


class State:
    def state_dict(self) -> dict[str, int]:
        return {}

    def load_state_dict(self, state: object) -> None:
        pass


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files whose names, arrays and states have control characters in their names."""
    monkeypatch.chdir(tmp_path)
    arrays = {"w\x9b31m\x7f\u202e": np.ones(1), "é": np.ones(1)}
    Path("run").mkdir()
    Path("folder").mkdir()
    for name in ("m\x1b[31m.safetensors", "run/m\x1b[31m\x9b-1.npz", "folder/x\x1b[31m.ckpt"):
        initreg.save(name, arrays)
    initreg.save_states(
        "run/m\x1b[31m\x9b-1.npz", epoch=1, step=1, objects={"s\x1b[32m\u202e": State()}
    )
    return tmp_path


LINES = [
    ["ls", "m\x1b[31m.safetensors"],
    ["probe", "folder"],
    ["probe", "m\x1b[31m.safetensors"],
    ["resume", "run"],
    ["verify", "m\x1b[31m.safetensors"],
    ["convert", "m\x1b[31m.safetensors", "o\x1b[31m\x9b.npz"],
    ["plan", "m\x1b[31m.safetensors", "--onto", "run/m\x1b[31m\x9b-1.npz"],
    ["ls", "no\x1b[31m\x9b.npz"],
    ["resume", "no\x1b[31m\x9b"],
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[0])
@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.usefixtures("folder")
def test_no_verb_prints_controls(
    line: list[str], as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither text nor JSON nor an error moves the cursor, changes colours or turns lines round."""
    main([line[0], *(["--json"] if as_json else []), *line[1:]])
    said = capsys.readouterr()
    assert (said.out + said.err).replace("\n", "").isprintable()
    if as_json:
        json.loads(said.out)


def run(line: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "initreg", *line],
        check=False,
        **options,  # type: ignore[call-overload]
    )


@pytest.mark.parametrize("locale", ["ascii", "latin-1"])
@pytest.mark.usefixtures("folder")
def test_json_on_another_locale(locale: str) -> None:
    """A process whose stdout is not UTF-8 prints JSON with the same names."""
    done = run(
        ["ls", "--json", "m\x1b[31m.safetensors"],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONIOENCODING": locale},
    )
    names = [array["name"] for array in json.loads(done.stdout.decode(locale))["arrays"]]
    assert sorted(names) == sorted(["w\x9b31m\x7f\u202e", "é"])


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.usefixtures("folder")
def test_a_full_disk(as_json: bool) -> None:
    """One line on stderr and code 2, with nothing from Python's own end."""
    line = ["ls", *(["--json"] if as_json else []), "m\x1b[31m.safetensors"]
    with open("/dev/full", "w") as full:
        done = run(line, stdout=full, stderr=subprocess.PIPE)
        assert done.returncode == 2
        said = "initreg: the output cannot be written to stdout: No space left on device\n"
        assert done.stderr.decode() == said
        for others in (["--version"], ["--help"], ["ls", "--help"]):
            assert run(others, stdout=full, stderr=full).returncode == 2


@pytest.mark.usefixtures("folder")
def test_a_reader_that_is_gone() -> None:
    """A closed pipe has the code of SIGPIPE, and nothing is said of it."""
    reads, writes = os.pipe()
    os.close(reads)
    done = run(["ls", "m\x1b[31m.safetensors"], stdout=writes, stderr=subprocess.PIPE)
    os.close(writes)
    assert done.returncode == 141
    assert done.stderr == b""


@pytest.mark.usefixtures("folder")
def test_no_stdout_at_all() -> None:
    """A verb runs without a stdout, as from a service."""
    command = f"exec {sys.executable} -m initreg convert m*.safetensors out.npz >&- 2>&-"
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 0
    assert sorted(initreg.load("out.npz")) == sorted(["w\x9b31m\x7f\u202e", "é"])


@pytest.mark.parametrize("verb", ["probe", "ls", "verify", "plan --onto m*.safetensors", "--help"])
@pytest.mark.usefixtures("folder")
def test_every_verb_runs_without_a_stdout(verb: str) -> None:
    """Its exit code is the answer, and nothing is printed."""
    source = "" if verb == "--help" else "m*.safetensors"
    command = f"exec {sys.executable} -m initreg {verb} {source} >&-"
    done = subprocess.run(["sh", "-c", command], check=False, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.usefixtures("folder")
def test_no_file_of_weights_is_a_standard_file() -> None:
    """If stdout and stderr are closed, their numbers are taken, so that no file that is written
    gets them, and with it what a library prints."""
    code = (
        "import os, sys; from initreg.cli import main; main(['ls', sys.argv[1]]); "
        "null = os.stat(os.devnull); "
        "sys.exit(not all(os.path.samestat(os.fstat(n), null) for n in (1, 2)))"
    )
    command = f'exec {sys.executable} -c "{code}" m*.safetensors >&- 2>&-'
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 0
