"""How long a plan takes: matching, rules, hints, text. Names as transformers have them."""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from measure import Row, compare

import initreg
from initreg import SmartInit
from initreg.plan.expectations import SourceSpecs
from initreg.plan.hints import renamings
from initreg.plan.matching import match
from initreg.rules.keywords import Rules
from initreg.specs import ArraySpec, VariableSpec
from initreg_formats.tf_checkpoint.slots import slots

TITLE = "Planning"
NOTE = """\
The names are those of a transformer, such as `encoder/layer_7/attention/query/kernel`, with several
shapes. The peer `sorted` sorts the shuffled names of both sides, which is n log n. So a ratio that
does not grow with n shows that ours grows no faster. The peer `sets` is the plainest code that a
user would write: two dicts, the intersection of their names, and a comparison of shapes and dtypes.
It keeps no rows and reports nothing.
"""

PARTS = [
    (f"attention/{name}/{kind}", shape)
    for name in ("query", "key", "value", "output")
    for kind, shape in (("kernel", (768, 768)), ("bias", (768,)))
]


def names_of(count: int, start: int = 0) -> list[tuple[str, tuple[int, ...]]]:
    whole = (
        (f"encoder/layer_{layer}/{part}", shape)
        for layer in range(start // len(PARTS), (start + count) // len(PARTS) + 2)
        for part, shape in PARTS
    )
    return [entry for entry, _ in zip(whole, range(count), strict=False)]


def arrays_of(names: list[tuple[str, tuple[int, ...]]]) -> list[ArraySpec]:
    return [ArraySpec(name, shape, "float32") for name, shape in names]


def variables_of(names: list[tuple[str, tuple[int, ...]]]) -> list[VariableSpec]:
    return [VariableSpec(name, shape, "float32") for name, shape in names]


def shuffled(*sides: list[Any]) -> list[str]:
    """The names of both sides; sorting those that are sorted already is not n log n."""
    names = [spec.name for side in sides for spec in side]
    random.Random(0).shuffle(names)
    return names


def sets(arrays: list[ArraySpec], variables: list[VariableSpec]) -> tuple[Any, ...]:
    """What a user would write by hand."""
    have = {array.name: (array.shape, array.dtype) for array in arrays}
    want = {variable.name: (variable.shape, variable.dtype) for variable in variables}
    both = have.keys() & want.keys()
    wrong = [name for name in both if have[name] != want[name]]
    return both, wrong, have.keys() - want.keys(), want.keys() - have.keys()


def matching(sizes: tuple[int, ...]) -> Iterator[Row]:
    for n in sizes:
        arrays, variables = arrays_of(names_of(n)), variables_of(names_of(n, n // 2))
        names = shuffled(arrays, variables)
        sources = [SourceSpecs("s", arrays)]
        goal = 1.0 if n == 100_000 else None

        def ours(sources: Any = sources, variables: Any = variables) -> Any:
            return match(sources, variables, "t", slots=slots)

        yield compare(
            "match, half of the names",
            n,
            ours,
            "sorted",
            lambda names=names: sorted(names),  # type: ignore[misc]
            goal_seconds=goal,
        )
        yield compare(
            "match, half of the names",
            n,
            ours,
            "sets",
            lambda a=arrays, v=variables: sets(a, v),  # type: ignore[misc]
        )
    n = sizes[-1] if sizes[-1] <= 100_000 else 100_000
    arrays, variables = arrays_of(names_of(n)), variables_of(names_of(n))
    names = shuffled(arrays, variables)
    adam = [ArraySpec(f"{a.name}/Adam", a.shape, a.dtype) for a in arrays]
    chain = [SourceSpecs("a", arrays), SourceSpecs("b", adam), SourceSpecs("c", arrays[::3])]
    yield compare(
        "match, a chain of three, one of them optimiser slots",
        n,
        lambda: match(chain, variables, "t", slots=slots),
        "sorted",
        lambda: sorted(names),
    )
    rules = Rules.of(
        strip_prefix="encoder/", rename=[(r"layer_(\d+)", r"block_\1")], drop="*/output/*"
    )
    yield compare(
        "three rules",
        n,
        lambda: rules.apply(arrays, "s"),
        "sorted",
        lambda: sorted(names),
    )


def hints(n: int) -> Iterator[Row]:
    plain = names_of(n)
    arrays = arrays_of(plain)
    names = shuffled(arrays, arrays)
    for what, want in (
        ("a prefix too much", [(f"model/{name}", shape) for name, shape in plain]),
        ("'.' for '/'", [(name.replace("/", "."), shape) for name, shape in plain]),
        ("'w' for 'kernel'", [(name.replace("kernel", "w"), shape) for name, shape in plain]),
        ("nothing alike", [(f"x{i * i}.y{i}", (9, i)) for i in range(n)]),
    ):
        variables = variables_of(want)
        yield compare(
            f"hints: {what}",
            n,
            lambda v=variables: renamings(arrays, v),  # type: ignore[misc]
            "sorted",
            lambda: sorted(names),
            goal_seconds=1.0 if n == 10_000 else None,
        )


def text(sizes: tuple[int, ...]) -> Iterator[Row]:
    for n in sizes:
        arrays, variables = arrays_of(names_of(n)), variables_of(names_of(n, n // 2))
        names = shuffled(arrays, variables)
        plan = match([SourceSpecs("s", arrays)], variables, "t")
        for what, call in (("str(plan)", plan.__str__), ("plan.to_json()", plan.to_json)):
            yield compare(what, n, call, "sorted", lambda names=names: sorted(names))  # type: ignore[misc]


def whole(n: int) -> Iterator[Row]:
    """From a file on disk to the plan."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.npz"
        model = {name: np.zeros((1, i % 3), "f4") for i, (name, _) in enumerate(names_of(n))}
        np.savez(path, **model)

        def by_hand() -> Any:
            with np.load(path) as file:
                return {name: file[name].shape == model[name].shape for name in file.files}

        yield compare(
            "SmartInit(npz).plan(dict)", n, lambda: SmartInit(path).plan(model), "np.load", by_hand
        )


def many(n: int, times: int) -> Iterator[Row]:
    """A dict, and a file that lists all of its names in one place, into a dict of as many."""
    # Short names: a header of safetensors has at most 100 MB, and a million longer ones have more.
    names = [name.replace("encoder/layer_", "l") for name, _ in names_of(n)]
    source = {name: np.zeros((1, 2), "f4") for name in names}
    model = {name: np.zeros((1, 2), "f4") for name in source}

    def by_hand() -> Any:
        return [name for name, array in source.items() if array.shape == model[name].shape]

    goal = 1.0 if n == 100_000 else None
    yield compare(
        "SmartInit(dict).plan(dict)",
        n,
        lambda: SmartInit(source).plan(model),
        "a loop",
        by_hand,
        times=times,
        goal_seconds=goal,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = initreg.save(Path(folder) / "m.safetensors", source)
        for what, call in (
            ("open(safetensors)", lambda: initreg.open(path).close()),
            ("SmartInit(safetensors).plan(dict)", lambda: SmartInit(path).plan(model)),
            ("SmartInit(safetensors).init(dict)", lambda: SmartInit(path).init(model) and None),
        ):
            yield compare(what, n, call, "a loop", by_hand, times=times)


def layers(n: int) -> Iterator[Row]:
    """A Keras model of many layers: a plan that is fine, and two that fail, with hints."""
    import keras

    sys.setrecursionlimit(50 * n)  # Keras builds a model by calls within calls
    x = inputs = keras.Input((4,))
    for i in range(n):
        x = keras.layers.Dense(4, name=f"block_{i}")(x)
    model = keras.Model(inputs, x)
    arrays = {v.path: np.asarray(v) for v in model.weights}
    renamed = {f"model/{k}".replace("kernel", "w"): v for k, v in arrays.items()}
    others = {f"x{i}/{i * i}": v[..., None, None] for i, v in enumerate(arrays.values())}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.weights.h5"
        model.save_weights(path)
        for what, source in (
            ("a file of its weights", path),
            ("a dict of its weights", arrays),
            ("a dict of other names", renamed),
            ("nothing alike", others),
        ):
            yield compare(
                f"Keras, {n:,} layers: {what}",
                2 * n,
                lambda source=source: SmartInit(source).plan(model),  # type: ignore[misc]
                "load_weights",
                lambda: model.load_weights(path),
                times=3,
                goal_seconds=0.3,
            )


def main(quick: bool) -> None:
    sizes = (1_000, 10_000) if quick else (1_000, 10_000, 100_000, 300_000)
    rows = [
        *matching(sizes),
        *hints(1_000 if quick else 10_000),
        *text(sizes[1:3]),
        *whole(1_000 if quick else 10_000),
        *many(10_000 if quick else 100_000, 5),
        *(() if quick else many(1_000_000, 1)),
        *layers(100 if quick else 1_000),
    ]
    json.dump([row.to_dict() for row in rows], sys.stdout)


if __name__ == "__main__":
    main("--quick" in sys.argv)
