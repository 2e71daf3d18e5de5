"""A resume that fails changes nothing: no weight, slot, seed, callback, object or file."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import InitregError, MismatchError, TargetError

pytestmark = [
    pytest.mark.framework,
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning",  # Keras
    ),
]


class Counter:
    """An object with a state, which it may refuse."""

    def __init__(self, refuses: bool = False) -> None:
        self.log: list[int] = [0]
        self._refuses = refuses

    def state_dict(self) -> Any:
        return {"log": self.log}

    def load_state_dict(self, state: Any) -> None:
        self.log = list(state["log"])
        if self._refuses and self.log != [0]:
            raise ValueError("not like this")


class Run:
    """A model, its callbacks, and a saver with two objects."""

    def __init__(self, library: Any, folder: Path, model: Any, refuses: bool = False) -> None:
        known = library.keras.callbacks
        self.library, self.folder, self.model = library, folder, model
        self.counter, self.other = Counter(), Counter(refuses)
        self.rng = np.random.default_rng(7)
        self.callbacks = [
            known.EarlyStopping("loss", patience=5, restore_best_weights=True),
            known.ReduceLROnPlateau("loss"),
            known.CSVLogger(str(folder / "log.csv")),
            library.trainers.MinSaver(folder, "loss"),
            library.trainers.ModelSaver(
                folder,
                objects={
                    "a": self.counter,
                    "random": initreg.RandomStates(data=self.rng),
                    "z": self.other,
                },
            ),
        ]

    def train(self) -> None:
        self.counter.log.append(1)
        self.other.log.append(1)
        self.library.fit(self.model, self.callbacks, 2)

    def everything(self) -> dict[str, Any]:
        """All that a resume could change."""
        optimizer = getattr(self.model, "optimizer", None)
        found = {
            "weights": self.library.weights(self.model),
            "variables": [each.numpy().tolist() for each in self.model.variables],
            "optimizer": None if optimizer is None else self.library.slots(self.model),
            "rate": None if optimizer is None else float(np.asarray(optimizer.learning_rate)),
            "stopped": getattr(self.model, "stop_training", None),
            "objects": (self.counter.log, self.other.log),
            "random": (random.getstate(), np.random.get_state(), self.rng.bit_generator.state),
            "files": {path.name: path.read_bytes() for path in self.folder.iterdir()},
        }
        for number, each in enumerate(self.callbacks[:-1]):
            found[f"callback {number}"] = {
                name: value
                for name, value in vars(each).items()
                if isinstance(value, (int, float, str, bool, list, type(None)))
            }
        return copy.deepcopy(found)

    def resume(self) -> Any:
        return self.library.trainers.resume(self.model, self.callbacks)


def model_of(
    library: Any,
    units: tuple[int, ...] = (3, 3, 3),
    drops: int = 1,
    optimizer: Any = "adam",
    extra: Callable[[], Any] | None = None,
) -> Any:
    layers = library.keras.layers
    inner = [layers.Dense(size) for size in units]
    inner += [layers.Dropout(0.5, seed=number) for number in range(drops)]
    inner += [extra()] if extra is not None else []
    model = library.keras.Sequential([layers.Input((3,)), *inner, layers.Dense(1)])
    if optimizer is not None:
        model.compile(optimizer, "mse", metrics=["mae"])
    return model


@pytest.fixture
def start(library: Any, tmp_path: Path) -> Callable[..., None]:
    """Trains a model in the folder of the test."""
    if library.keras.__name__ == "tf_keras":
        library.keras.backend.experimental.enable_tf_random_generator()

    def train(**options: Any) -> None:
        Run(library, tmp_path, model_of(library, **options)).train()

    return train


def check(
    library: Any,
    folder: Path,
    model: Any,
    error: type[InitregError],
    match: str,
    **options: Any,
) -> None:
    """Resuming with this model is an error, and nothing has changed."""
    run = Run(library, folder, model, **options)
    before = run.everything()
    with pytest.raises(error, match=match):
        run.resume()
    after = run.everything()
    for name, value in before.items():
        assert repr(after[name]) == repr(value), name


def test_the_same_model_goes_on(library: Any, tmp_path: Path, start: Callable[..., None]) -> None:
    """With a model like the one that was trained, all that the other tests look at does change."""
    start()
    run = Run(library, tmp_path, model_of(library))
    random.random()  # whatever a library draws, the state is another one now
    before = run.everything()
    assert run.resume().epoch == 2
    after = run.everything()
    same = {name for name, value in before.items() if repr(after[name]) == repr(value)}
    assert same == {"rate", "stopped", "files", "callback 0", "callback 1", "callback 3"}


@pytest.mark.parametrize(
    ("units", "match"),
    [
        ((3, 3), r"layers/dense_2.*: \(3, 3\) in the file, \(3, 1\) in the model"),
        ((3, 3, 3, 3), r"layers/dense_3.*: \(3, 1\) in the file, \(3, 3\) in the model"),
        ((3, 4, 3), r"layers/dense_1.*: \(3, 3\) in the file, \(3, 4\) in the model"),
        ((3, 3, 1), r"layers/dense_2.*: \(3, 3\) in the file, \(3, 1\) in the model"),
    ],
)
def test_other_layers(
    library: Any,
    tmp_path: Path,
    start: Callable[..., None],
    units: tuple[int, ...],
    match: str,
) -> None:
    """Fewer layers, more layers, other shapes."""
    start()
    check(library, tmp_path, model_of(library, units), MismatchError, match)


def test_layers_at_the_end_that_are_gone(
    library: Any, tmp_path: Path, start: Callable[..., None]
) -> None:
    """Keras loads such a file into the shorter model, without a word."""
    layers = library.keras.layers
    start(optimizer=library.keras.optimizers.SGD())
    model = library.keras.Sequential([layers.Input((3,)), layers.Dense(3), layers.Dropout(0.5)])
    model.compile(library.keras.optimizers.SGD(), "mse", metrics=["mae"])
    (path,) = tmp_path.glob("model-4.weights.h5")
    other = library.keras.models.clone_model(model)
    other.load_weights(str(path))
    check(
        library,
        tmp_path,
        model,
        MismatchError,
        r"dense_1.*: \(3, 3\) in the file, missing in the model",
    )


@pytest.mark.parametrize("drops", [0, 2])
def test_another_number_of_seeds(
    library: Any, tmp_path: Path, start: Callable[..., None], drops: int
) -> None:
    """The weights are the same, and the model is another one."""
    start()
    match = rf"has {drops} seeds .* and 1 were saved|layers/dropout"
    check(library, tmp_path, model_of(library, drops=drops), InitregError, match)


@pytest.mark.parametrize("kind", ["RMSprop", "amsgrad", "none", "built"])
def test_another_optimizer(
    library: Any, tmp_path: Path, start: Callable[..., None], kind: str
) -> None:
    """Another class with as many variables of the same shapes, other options, none at all, and one
    that is built already."""
    made = library.keras.optimizers
    start(optimizer=made.SGD(0.1, momentum=0.9) if kind == "RMSprop" else "adam")
    optimizer = {
        "RMSprop": lambda: made.RMSprop(0.1),
        "amsgrad": lambda: made.Adam(amsgrad=True),
        "none": lambda: None,
        "built": lambda: made.SGD(0.1, momentum=0.9),
    }[kind]()
    model = model_of(library, optimizer=optimizer)
    if kind == "built":
        optimizer.build(model.trainable_variables)
    match = "compile the model with the optimizer that it was trained with"
    check(library, tmp_path, model, MismatchError, match)


def test_a_model_that_is_not_built(
    library: Any, tmp_path: Path, start: Callable[..., None]
) -> None:
    """It is an error before anything else."""
    start()
    model = library.keras.Sequential([library.keras.layers.Dense(1)])
    run = Run(library, tmp_path, model)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(TargetError, match="is not built"):
        run.resume()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files
    assert run.counter.log == [0]


def test_an_object_that_refuses_its_state(
    library: Any, tmp_path: Path, start: Callable[..., None]
) -> None:
    """The objects before it get back the states that they had."""
    start()
    check(library, tmp_path, model_of(library), InitregError, "not like this", refuses=True)


def test_a_layer_that_fails_to_load(
    library: Any, tmp_path: Path, start: Callable[..., None]
) -> None:
    """A layer with loading of its own may fail when others have been loaded. These get back what
    they had. What such a layer saves may differ in length."""

    class Own(library.keras.layers.Layer):  # type: ignore[misc, name-defined]
        saved = [1.0, 2.0]
        works = True

        def call(self, x: Any) -> Any:
            return x

        def save_own_variables(self, store: Any) -> None:
            store["mine"] = np.array(self.saved)

        def load_own_variables(self, store: Any) -> None:
            if not self.works:
                raise ValueError("it has a mind of its own")
            self.got = np.array(store["mine"]).tolist()

    start(extra=Own)
    Own.saved = [1.0]
    model = model_of(library, extra=Own)
    assert Run(library, tmp_path, model).resume().epoch == 2
    assert model.layers[-2].got == [1.0, 2.0]
    Own.works = False
    model = model_of(library, extra=Own)
    model.optimizer.build(model.trainable_variables)
    check(library, tmp_path, model, InitregError, "a mind of its own")


def test_the_state_of_a_callback_that_is_damaged(
    library: Any, tmp_path: Path, start: Callable[..., None]
) -> None:
    """It is found before the log of another callback is cut."""
    start()
    (sidecar,) = tmp_path.glob("model-4*.resume.json")
    text = sidecar.read_text()
    assert '"wait"' in text
    sidecar.write_text(text.replace('"wait": ', '"wait": [], "x": ', 1))
    with open(tmp_path / "log.csv", "a") as log:
        log.write("2,1,1\n")
    check(library, tmp_path, model_of(library), InitregError, "wait has an invalid value")


def test_best_weights_of_another_model(
    library: Any, tmp_path: Path, start: Callable[..., None]
) -> None:
    """They would go into the model when the training ends."""
    start()
    (best,) = tmp_path.glob("model-4.best.npz")
    with np.load(best) as found:
        arrays = {name: array[:1] for name, array in found.items()}
    size = best.stat().st_size
    np.savez(best, **arrays)
    sidecar = best.with_name("model-4.weights.h5.resume.json")
    content = sidecar.read_text().replace(f'"size": {size}', f'"size": {best.stat().st_size}')
    sidecar.write_text(content)
    check(library, tmp_path, model_of(library), MismatchError, "best weights of 'EarlyStopping'")
