"""initreg dump: what it prints, and when it says no."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tensorflow as tf

import initreg
from initreg.cli import main

v1 = tf.compat.v1


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training run with one checkpoint and its metagraph."""
    folder = tmp_path_factory.mktemp("run")
    with tf.Graph().as_default(), v1.Session() as session:
        w = v1.get_variable("w", [2, 3])
        b = v1.get_variable("b", [3])
        loss = tf.reduce_sum(w) + tf.reduce_sum(b)
        v1.train.AdamOptimizer().minimize(loss, v1.train.get_or_create_global_step())
        session.run(v1.global_variables_initializer())
        v1.train.export_meta_graph(str(folder / "graph.meta"))
        v1.train.Saver().save(session, str(folder / "model"), 1, write_meta_graph=False)
    return folder


def test_a_folder(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was written, by which metagraph, what is in it and what is not, with the reason."""
    out = tmp_path / "a.ckpt"
    assert main(["dump", str(run), str(out)]) == 0
    size = sum(path.stat().st_size for path in tmp_path.glob("a.ckpt*"))
    assert capsys.readouterr().out.splitlines() == [
        f"{out}: 2 arrays, {size} B",
        f"  by {run / 'graph.meta'}",
        "  2 kept",
        "    b  (3,) float32",
        "    w  (2, 3) float32",
        "  7 dropped",
        "    {b,w}/Adam  2 x neither TRAINABLE nor MODEL in the graph",
        "    {b,w}/Adam_1  2 x neither TRAINABLE nor MODEL in the graph",
        "    beta{1,2}_power  2 x neither TRAINABLE nor MODEL in the graph",
        "    global_step  neither TRAINABLE nor MODEL in the graph",
    ]
    assert set(initreg.load(out)) == {"w", "b"}


def test_inference_and_json(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every name, for machines."""
    out = tmp_path / "a.ckpt"
    assert main(["dump", str(run / "model-1"), str(out), "--inference", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["path"] == str(out)
    assert answer["meta"] is None
    assert answer["arrays"] == 2
    assert [each["name"] for each in answer["kept"]] == ["b", "w"]
    reasons = {each["name"]: each["reason"] for each in answer["dropped"]}
    assert len(reasons) == 7
    assert reasons["w/Adam_1"] == "optimiser slot"


def test_a_given_metagraph(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--meta`` goes with any checkpoint; ``--all`` cuts nothing."""
    arguments = [str(run / "model-1.index"), str(tmp_path / "a.ckpt")]
    assert main(["dump", *arguments, "--meta", str(run / "graph.meta"), "--all"]) == 0
    assert "  2 kept\n" in capsys.readouterr().out


def test_the_remedy_is_what_is_typed_here(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither option, and not a folder: the error says both as options."""
    assert main(["dump", str(run / "model-1"), str(tmp_path / "a.ckpt")]) == 2
    said = capsys.readouterr().err
    assert f"--meta {run / 'graph.meta'}, or pass --inference" in said


def test_what_cannot_be_done(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Code 2 for a metagraph that is not there, or an empty path; nothing is written."""
    out = tmp_path / "a.ckpt"
    assert main(["dump", str(run), str(out), "--meta", str(run / "gone.meta")]) == 2
    assert "gone.meta" in capsys.readouterr().err
    assert main(["dump", str(run), str(out), "--meta", ""]) == 2
    with pytest.raises(SystemExit):
        main(["dump", str(run), str(out), "--meta", "a", "--inference"])
    assert list(tmp_path.iterdir()) == []
