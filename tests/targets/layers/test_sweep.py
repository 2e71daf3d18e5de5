"""Every layer class with state, in every format: initreg restores what the reference loader does.

Layers are built, given random state, and saved by Keras. The reference loader restores them into
one model and initreg into another. Outputs and state are then equal, or ``known.py`` says why not.
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import Any

import pytest
from cases import NOT_USABLE, cases, classes, is_stateless
from known import KNOWN, known
from sweep import EQUAL, Sample, Sweep, formats, variables

# What Keras and TensorFlow say while they save and load. initreg's own warnings are recorded.
_SAID = ("UserWarning", "DeprecationWarning", "FutureWarning", "RuntimeWarning")
pytestmark = [
    pytest.mark.newest,
    *(pytest.mark.filterwarnings(f"ignore::{category}") for category in _SAID),
]

LIBRARIES = ("keras", "tf_keras")
# tf_keras takes a class from tf.keras, which is Keras 3 here.
BROKEN = {("tf_keras", "SpectralNormalization")}


def library(name: str) -> Any:
    return importlib.import_module(name)


@functools.cache
def swept(name: str, number: int) -> Sweep:
    """A sweep, kept for the formats that follow."""
    swept.cache_clear()  # the models of the last one
    return Sweep(library(name), cases(library(name))[number])


def params() -> list[Any]:
    """Each case in each format. One format of every second case is in ``make slow``, by turns."""

    def in_test(number: int, place: int, count: int) -> bool:
        return number % 2 == 0 and place == number // 2 % count

    return [
        pytest.param(
            name,
            number,
            suffix,
            id=f"{name}-{case.name}-{suffix}",
            marks=(
                pytest.mark.slow
                if in_test(number, place, len(formats(name)))
                else pytest.mark.sweep
            ),
        )
        for name in LIBRARIES
        for number, case in enumerate(cases(library(name)))
        if (name, case.kinds[0]) not in BROKEN
        for place, suffix in enumerate(formats(name))
    ]


@pytest.mark.parametrize(("name", "number", "suffix"), params())
def test_a_layer_in_a_format(name: str, number: int, suffix: str, tmp_path: Path) -> None:
    """Outputs and state are those of the saved model, or what is known of the case."""
    case = cases(library(name))[number]
    expected = known(name, case, suffix)
    outcome, details = swept(name, number).outcome(suffix, tmp_path)
    assert outcome == (EQUAL if expected is None else expected.outcome), details


def samples(name: str, stateless: bool) -> list[Any]:
    return [
        kind
        for kind in classes(library(name))
        if kind not in NOT_USABLE and is_stateless(name, kind) == stateless
    ]


@pytest.mark.parametrize("name", LIBRARIES)
def test_every_class_is_swept(name: str) -> None:
    """A class that a new version adds is in the sweep, or is said to have no state."""
    in_cases = {kind for case in cases(library(name)) for kind in case.kinds}
    assert in_cases == set(samples(name, stateless=False))


@pytest.mark.slow
@pytest.mark.parametrize("name", LIBRARIES)
def test_every_case_has_state(name: str) -> None:
    """Each case has a variable besides those of the Dense layer, a vocabulary, or boundaries.

    A class for which this fails belongs into ``cases._STATELESS``, or needs arguments in
    ``cases._MAKE``.
    """
    for case in cases(library(name)):
        if (name, case.kinds[0]) in BROKEN:
            continue
        sample = Sample(library(name), case, 0)
        learnt = [each for each in sample.layers if hasattr(each, "adapt")]
        assert len(variables(sample.model)) > 2 or learnt, case.name


@pytest.mark.parametrize("name", LIBRARIES)
def test_classes_without_state_have_none(name: str) -> None:
    """None of the classes that the sweep leaves out adds a variable or saves in its own way."""
    K = library(name)
    for kind in samples(name, stateless=True):
        own = classes(K)[kind]
        for method in ("add_weight", "build", "save_own_variables", "save_assets"):
            found = getattr(own, method, None)
            assert found is None or not _writes_state(own, method), kind


def _writes_state(kind: Any, method: str) -> bool:
    import inspect

    base = next((each for each in kind.__mro__ if method in vars(each)), None)
    if base is None or base.__name__ in ("Layer", "Module", "TFLayer"):
        return False
    if method in ("save_own_variables", "save_assets"):
        return True
    source = inspect.getsource(vars(base)[method])
    return "add_weight(" in source or "SeedGenerator(" in source


def test_all_that_is_known_is_of_use() -> None:
    """Each entry of ``known.py`` is about some case, and names formats of its library."""
    for each in KNOWN:
        names = [each.library] if each.library else LIBRARIES
        assert any(each.applies(case) for name in names for case in cases(library(name)))
