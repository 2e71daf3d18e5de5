"""What --onto names: a source, or code that builds a model of any kind."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from initreg.cli import main

CODE = """
import numpy as np

def arrays():
    return {"w": np.zeros(2, "f4"), "b": np.zeros(1)}

def keras():
    import keras
    layers = [keras.Input((2,)), keras.layers.Dense(1, name="d")]
    return keras.Sequential(layers, name="tiny")

def graph():
    import tensorflow as tf
    with tf.Graph().as_default() as graph:
        tf.compat.v1.get_variable("w", 2)
    return graph

def session():
    import tensorflow as tf
    return tf.compat.v1.Session(graph=graph())

class Zoo:
    @staticmethod
    def small():
        return arrays()

READY = arrays()

def nothing():
    pass

def leaving():
    raise SystemExit(0)

def noisy():
    print("Building ...")
    return arrays()

def argued():
    import argparse
    argparse.ArgumentParser().parse_args()
    return arrays()

class Callable_:
    def __call__(self):
        return arrays()

BUILDER = Callable_()

def __getattr__(name):
    if name == "MODEL":
        return keras()
    raise AttributeError(name)

def failing():
    raise ValueError("no data set here")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A module, weights for each of its models, and we are in their folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    (tmp_path / "models_of_this_test.py").write_text(CODE)
    (tmp_path / "broken_of_this_test.py").write_text("import no_such_library")
    np.savez("w.npz", w=np.ones(2, "f4"))
    np.savez("k.npz", **{"tiny/d/kernel": np.ones((2, 1), "f4"), "tiny/d/bias": np.ones(1, "f4")})
    yield
    for name in ("models_of_this_test", "layers_of_this_test", "more_of_this_test"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("path", "source", "heading"),
    [
        ("arrays", "w.npz", "w.npz -> dict of arrays: 1 of 2 variables will be restored"),
        ("Zoo.small", "w.npz", "w.npz -> dict of arrays: 1 of 2 variables will be restored"),
        ("noisy", "w.npz", "w.npz -> dict of arrays: 1 of 2 variables will be restored"),
        ("argued", "w.npz", "w.npz -> dict of arrays: 1 of 2 variables will be restored"),
        ("BUILDER", "w.npz", "w.npz -> dict of arrays: 1 of 2 variables will be restored"),
        ("READY", "w.npz", "w.npz -> dict of arrays: 1 of 2 variables will be restored"),
    ],
)
def test_code_that_builds_arrays(path, source, heading, capsys):
    """Whatever a target takes may be built, or be there already, in a module of the folder."""
    assert main(["plan", source, "--onto", f"models_of_this_test:{path}"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == heading


@pytest.mark.framework
@pytest.mark.parametrize(
    ("path", "source", "heading"),
    [
        ("MODEL", "k.npz", "k.npz -> Keras model 'tiny': 2 of 2 variables will be restored"),
        ("keras", "k.npz", "k.npz -> Keras model 'tiny': 2 of 2 variables will be restored"),
        ("graph", "w.npz", "w.npz -> TF1 graph: 1 of 1 variable will be restored"),
        ("session", "w.npz", "w.npz -> TF1 session: 1 of 1 variable will be restored"),
    ],
)
def test_code_that_builds_a_model(path, source, heading, capsys):
    """So may a model of Keras, and a graph or a session of TensorFlow 1."""
    assert main(["plan", source, "--onto", f"models_of_this_test:{path}"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == heading


@pytest.mark.parametrize(
    ("onto", "message"),
    [
        ("models_of_this_test:nothing", "returned None. It must return what it builds"),
        ("models_of_this_test:failing", "calling it failed: ValueError: no data set here"),
        ("models_of_this_test:leaving", "calling it failed: SystemExit: 0"),
        ("models_of_this_test:arays", "arays. It has BUILDER, Callable_, Zoo, argued, arrays"),
        ("no_such_module:x", "no_such_module cannot be imported: ModuleNotFoundError"),
        ("broken_of_this_test:x", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("models_of_this_test:Zoo", "no installed target writes into a"),
        ("nothing here", "nothing here: no such file"),
    ],
)
def test_code_that_does_not(onto, message, capsys):
    """One line, exit code 2, and what is wrong with the code."""
    assert main(["plan", "w.npz", "--onto", onto]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1


def test_what_the_code_prints_is_not_in_the_json(capsys):
    """stdout is the plan's alone."""
    assert main(["plan", "w.npz", "--onto", "models_of_this_test:noisy", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["ok"] is True
    assert captured.err == "Building ...\n"


def test_a_file_goes_before_code(capsys):
    """A path that is there is a source, though it could be read as code."""
    np.savez("models_of_this_test:arrays.npz", w=np.zeros(2, "f4"))
    os.rename("models_of_this_test:arrays.npz", "models_of_this_test:arrays")
    assert main(["plan", "w.npz", "--onto", "models_of_this_test:arrays"]) == 0
    assert "-> models_of_this_test:arrays: 1 of 1" in capsys.readouterr().out


# --- in a file ------------------------------------------------------------------------------------

IN_A_FILE = """
import sys
from dataclasses import dataclass
from layers_of_this_test import zeros
SEEN = [sys.path[0], sys.argv]

@dataclass
class Model:
    width: "int" = 2
    def arrays(self):
        from more_of_this_test import ones
        sys.path.append("left by the file")
        return {"w": zeros(self.width), "b": ones(1)}

def build():
    return Model().arrays()

def where():
    raise ValueError(f"{SEEN} {__file__} {__name__}")

if __name__ == "__main__":
    raise SystemExit("trained")
"""


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """A folder of code whose files import each other, one when it is called; its name and that of
    the first file could not be imported."""
    zoo = tmp_path / "zoo of-2015"
    zoo.mkdir()
    (zoo / "my-model.py").write_text(IN_A_FILE)
    (zoo / "json.py").write_text(IN_A_FILE)
    for name, function in (("layers", "zeros"), ("more", "ones")):
        text = f"import numpy\ndef {function}(n): return numpy.{function}(n, 'f4')"
        (zoo / f"{name}_of_this_test.py").write_text(text)
    (zoo / "broken.py").write_text("def build(:")
    (zoo / "folder.py").mkdir()
    return zoo


@pytest.mark.parametrize("name", ["my-model.py", "json.py"])
@pytest.mark.parametrize("absolute", [False, True])
def test_code_in_a_file(zoo, name, absolute, capsys):
    """Relative or absolute, under any name, it can import what lies beside it when it is loaded and
    when it builds; sys.path is as it was, and the file hides no module."""
    before = list(sys.path)
    file = zoo / name if absolute else os.path.relpath(zoo / name)
    assert main(["plan", "w.npz", "--onto", f"{file}:build"]) == 0
    heading = capsys.readouterr().out.splitlines()[0]
    assert heading == "w.npz -> dict of arrays: 1 of 2 variables will be restored"
    assert sys.path == before
    assert sys.modules["json"] is json


def test_a_file_is_loaded_as_python_does(zoo, capsys):
    """Its folder, without links, is the first of sys.path; it finds no arguments of ours and its
    own path; and it is not __main__, which would begin to train."""
    (zoo.parent / "link.py").symlink_to(zoo / "my-model.py")
    assert main(["plan", "w.npz", "--onto", "link.py:where"]) == 2
    said = capsys.readouterr().err
    assert f"{[str(zoo.resolve()), ['link.py']]} {zoo.parent / 'link.py'} __onto__" in said


@pytest.mark.parametrize(
    ("onto", "message"),
    [
        ("zoo of-2015/no-model.py:build", "there is no file zoo of-2015/no-model.py"),
        ("no_model.py:build", "--onto no_model.py:build: there is no file no_model.py"),
        ("zoo of-2015/broken.py:build", "broken.py cannot be imported: SyntaxError: "),
        ("zoo of-2015/folder.py:build", "folder.py cannot be imported: IsADirectoryError: "),
        ("broken_of_this_test.py:x", "ModuleNotFoundError: No module named 'no_such_library'"),
        (
            "zoo of-2015/my-model.py:buidl",
            "my-model.py:buidl: zoo of-2015/my-model.py has no attribute 'buidl'. It has Model, ",
        ),
        ("models_of_this_test.py:nothing", "models_of_this_test.py:nothing returned None"),
        ("models_of_this_test.py:failing", "calling it failed: ValueError: no data set here"),
        ("models_of_this_test.py", "name what builds the model: --onto models_of_this_test.py:c"),
        ("models_of_this_test.py:nothing()", "or code as package.module:callable or as file.py:c"),
    ],
)
def test_a_file_that_gives_no_model(zoo, onto, message, capsys):
    """One line, exit code 2, what is wrong with the file; sys.path is as it was."""
    before = list(sys.path)
    assert main(["plan", "w.npz", "--onto", onto]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert sys.path == before


def test_a_weight_file_of_such_a_name_goes_before_code(capsys):
    """A path that is there is a source, even if it reads as code in a file that is there, too."""
    np.savez("models_of_this_test.npz", w=np.zeros(2, "f4"))
    os.rename("models_of_this_test.npz", "models_of_this_test.py:arrays")
    assert main(["plan", "w.npz", "--onto", "models_of_this_test.py:arrays"]) == 0
    assert "-> models_of_this_test.py:arrays: 1 of 1" in capsys.readouterr().out
