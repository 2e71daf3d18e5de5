"""What belongs to the whole process is not touched where threads may restore."""

from __future__ import annotations

import ast
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import SmartInit

ROOT = Path(__file__).parents[1]
# Each changes the process, and puts it back, if at all, as another thread may have left it.
CALLS = {
    *("warnings.catch_warnings", "warnings.simplefilter", "warnings.filterwarnings"),
    *("warnings.resetwarnings", "signal.signal", "os.chdir", "os.umask", "os.putenv"),
    *(
        "np.seterr",
        "numpy.seterr",
        "sys.setrecursionlimit",
        "locale.setlocale",
        "socket.setdefaulttimeout",
    ),
    *("np.set_printoptions", "os.environ.update", "os.environ.setdefault"),
}
# The command line owns its process.
OWN = {"initreg/cli/__init__.py"}


def changes(path: Path) -> Iterator[str]:
    """What a module does to the process."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in CALLS:
            yield ast.unparse(node.func)
        if isinstance(node, (ast.Assign, ast.Delete)):
            for each in node.targets:
                if ast.unparse(each).startswith(("os.environ", "warnings.")):
                    yield ast.unparse(each)


@pytest.mark.skipif(not (ROOT / "plugins").is_dir(), reason="needs the source tree")
def test_no_module_changes_the_process() -> None:
    """No module of the kernel or of a plugin calls what changes the state of the process."""
    modules = [*ROOT.glob("initreg/**/*.py"), *ROOT.glob("plugins/**/*.py")]
    found = {}
    for path in modules:
        name = path.relative_to(ROOT).as_posix()
        if "/testing/" not in name and "/tests/" not in name and name not in OWN:
            found[name] = sorted(changes(path))
    assert len(found) > 100
    assert {name: calls for name, calls in found.items() if calls} == {}


def state() -> dict[str, Any]:
    umask = os.umask(0)
    os.umask(umask)
    return {
        "filters": list(warnings.filters),
        "showwarning": warnings.showwarning,
        "numpy": np.geterr(),
        "folder": os.getcwd(),
        "environ": dict(os.environ),
        "umask": umask,
    }


def in_threads(work: Any, count: int = 8) -> list[BaseException]:
    """Run it in threads at once, and return what they raised."""
    start = threading.Barrier(count)
    raised: list[BaseException] = []

    def run() -> None:
        start.wait()
        try:
            for _ in range(10):
                work()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_threads_leave_the_process_as_it_was(tmp_path: Path) -> None:
    """Threads that pad, cast, save and restore leave filters, error state, folder and umask."""
    source = {"a": np.ones((2, 3), "f4"), "b": np.arange(3.0), "c": np.ones(2, "f4")}
    initreg.save(tmp_path / "m.npz", source)

    def work() -> None:
        target = {"a": np.zeros((2, 5), "f4"), "b": np.zeros(3, "f2"), "c": np.zeros(2, "f4")}
        SmartInit(tmp_path / "m.npz", pad={"a": (1, 5, 1 + 0j)}, cast={"b": "float16"}).init(target)
        assert target["a"].tolist() == [[1] * 5] * 2
        out = tmp_path / f"{threading.get_ident()}.npz"
        initreg.save(out, target)

    before = state()
    assert in_threads(work) == []
    assert state() == before


@pytest.mark.framework
def test_threads_over_keras_models_silence_nobody() -> None:
    """Models of tf_keras that threads restore at once: the next warning is still shown."""
    tf_keras = pytest.importorskip("tf_keras")
    made = [
        tf_keras.Sequential([tf_keras.Input((4,)), *(tf_keras.layers.Dense(4) for _ in range(9))])
        for _ in range(8)
    ]
    models = {id(model): model for model in made}
    free = list(models)

    def work() -> None:
        model = models[free.pop()]
        SmartInit({w.name: w.numpy() for w in model.weights}).init(model)
        free.append(id(model))

    before = state()
    assert in_threads(work) == []
    assert state() == before
    weight = made[0].weights[0]
    with pytest.warns(initreg.MissingWarning):
        SmartInit({weight.name: np.ones((4, 4), "f4")}).init(made[0])
