"""python -m initreg: verbs, exit codes, JSON."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import initreg
from initreg.cli import main


@pytest.fixture
def npz(tmp_path):
    np.savez(tmp_path / "m.npz", **{"fc/W": np.zeros((3, 4), "f4"), "é": np.zeros(2, "i8")})
    return tmp_path / "m.npz"


def test_version_and_help(capsys):
    """--version prints it; no verb prints the help and is bad usage."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{initreg.__version__}\n"
    assert main([]) == 2
    assert "probe" in capsys.readouterr().out


def test_bad_usage_is_2(capsys):
    """argparse's own exit code is ours."""
    with pytest.raises(SystemExit) as caught:
        main(["nonsense"])
    assert caught.value.code == 2
    assert "there is no verb 'nonsense'" in capsys.readouterr().err


def test_probe_tells_who_and_why(npz, capsys):
    """The winner with its reason, then who declined."""
    assert main(["probe", str(npz)]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == f"{npz}: npz (EXACT: zip archive whose members are all .npy)"
    [declined] = [line for line in rest if line.startswith("declined by  ")]
    assert "npy" in declined
    assert "tf_session" not in declined  # it takes objects, and no file could be one


def test_probe_json(npz, capsys):
    """The same for machines."""
    assert main(["probe", "--json", str(npz)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["source"] == str(npz)
    assert answer["winner"] == "npz"
    assert answer["claims"] == [
        {
            "format": "npz",
            "confidence": "EXACT",
            "reason": "zip archive whose members are all .npy",
        }
    ]
    assert {"mapping", "npy"} <= set(answer["declined"])


def test_probe_of_an_unclaimed_file_is_1(tmp_path, capsys):
    """Nobody's file: exit code 1, on stdout, with what it looks like."""
    (tmp_path / "m.pt").write_bytes(b"PK\x03\x04...")
    assert main(["probe", str(tmp_path / "m.pt")]) == 1
    out = capsys.readouterr().out
    assert "no installed format claims it" in out
    assert "a PyTorch file, which is a pickle" in out
    assert main(["probe", "--json", str(tmp_path / "m.pt")]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["winner"], answer["error"]) == (None, "UnknownFormat")


def test_probe_of_a_missing_file_is_2(tmp_path, capsys):
    """What could not be done: exit code 2, one line on stderr, or JSON on stdout."""
    assert main(["probe", str(tmp_path / "no")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"initreg: {tmp_path}/no: no such file or checkpoint\n"
    assert main(["probe", "--json", str(tmp_path / "no")]) == 2
    assert json.loads(capsys.readouterr().out) == {
        "error": "SourceNotFound",
        "message": f"{tmp_path}/no: no such file or checkpoint",
    }


def test_plugins_lists_every_plugin(capsys):
    """Names, kinds, distribution and module of each; --json has the same."""
    code = main(["plugins"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "KIND", "DISTRIBUTION", "MODULE"]
    row = next(line for line in lines if line.startswith("npz"))
    assert row.split() == ["npz", "format", "initreg", initreg.__version__, "initreg_formats.npz"]
    assert main(["plugins", "--json"]) == code
    records = {record["name"]: record for record in json.loads(capsys.readouterr().out)}
    assert records["mapping_target"]["kinds"] == ["target"]
    assert records["npz"]["broken"] is None


def test_every_plugin_of_ours_works(capsys):
    """A whole installation has no broken plugin and lacks no library."""
    main(["plugins", "--json"])
    records = json.loads(capsys.readouterr().out)
    ours = [record for record in records if record["distribution"] == "initreg"]
    assert [r["name"] for r in ours] == [
        "h5",
        "keras_model",
        "mapping",
        "mapping_target",
        "npy",
        "npz",
        "safetensors",
        "tf_checkpoint",
        "tf_metagraph",
        "tf_session",
        "tf_variables",
    ]
    assert [(r["broken"], r["missing"]) for r in ours] == [(None, {})] * len(ours)


def test_ls(npz, capsys):
    """Names, shapes, dtypes and sizes, then the totals."""
    assert main(["ls", str(npz)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "NAME  SHAPE   DTYPE    SIZE",
        "fc/W  (3, 4)  float32  48 B",
        "é     (2,)    int64    16 B",
        "2 arrays, 14 numbers, 64 B",
    ]


def test_ls_json(npz, capsys):
    """Everything that is known of each array without reading it."""
    assert main(["ls", "--json", str(npz)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["source"], answer["format"]) == (str(npz), "npz")
    assert answer["arrays"][0] == {
        "name": "fc/W",
        "shape": [3, 4],
        "dtype": "float32",
        "nbytes": 48,
        "aliases": [],
        "given": ["fc/W"],
        "places": [],
        "automatic": [],
        "made_of": [],
        "changes": [],
        "unreadable": None,
    }


def test_ls_options(tmp_path, capsys):
    """--allow-pickle opens a zoo file, --format decides; without them the answer is 2."""
    np.save(tmp_path / "zoo.npy", {"a": np.zeros(3)})
    assert main(["ls", str(tmp_path / "zoo.npy")]) == 2
    assert "pass --allow-pickle" in capsys.readouterr().err
    assert main(["ls", "--allow-pickle", str(tmp_path / "zoo.npy")]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("a     (3,)   float64")
    assert main(["ls", "--format", "npz", str(tmp_path / "zoo.npy")]) == 2
    assert "not a complete zip archive" in capsys.readouterr().err


def test_a_closed_pipe_is_no_error(tmp_path):
    """`initreg ls big.npz | head -1` prints its line and nothing on stderr. The exit code is
    that of a program that SIGPIPE ends."""
    np.savez(tmp_path / "m.npz", **{f"x{i}" * 20: np.zeros(1) for i in range(3000)})
    command = f"{sys.executable} -m initreg ls {tmp_path}/m.npz | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""
    command = ["bash", "-o", "pipefail", "-c", command]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 141


def test_the_script_is_installed(npz):
    """`initreg` and `python -m initreg` are one."""
    script = os.path.join(os.path.dirname(sys.executable), "initreg")
    found = [
        subprocess.run([*c, "probe", str(npz)], capture_output=True, text=True, check=True).stdout
        for c in ([script], [sys.executable, "-m", "initreg"])
    ]
    assert found[0] == found[1]
    assert found[0].startswith(f"{npz}: npz")
