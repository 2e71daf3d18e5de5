"""Models of random structure, changed models, and an oracle that knows which layer is which.

A model is described by nested tuples. Each layer has an identity that is neither its name nor its
place. So the oracle knows which layer of a changed model is which one of the saved model.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tensorflow as tf

PROBE = np.linspace(-1.0, 2.0, 8, dtype="float32").reshape(2, 4)
NAMES = ("body", "neck", "head", "left", "right", "proj")


@dataclass(frozen=True)
class Leaf:
    """A layer with weights. Layers of equal ``kind`` and ``units`` fit each other."""

    id: int
    name: str | None = None
    kind: str = "Dense"
    units: int = 4


@dataclass(frozen=True)
class Sub:
    """A model within a model: ``"functional"``, ``"sequential"`` or ``"list"``, a sub-classed model
    with the layers in a list, or ``"attributes"``."""

    id: int
    layers: tuple[Leaf | Sub, ...]
    name: str | None = None
    kind: str = "functional"


@dataclass
class Built:
    """A model, and its layers by their identities."""

    model: Any
    layers: dict[int, Any] = field(default_factory=dict)

    def fill(self, seed: int) -> None:
        """Give all weights random values."""
        rng = np.random.default_rng(seed)
        for variable in self.model.weights:
            variable.assign(rng.random(tuple(variable.shape)))

    def values(self) -> dict[int, Any]:
        """All that each layer computes with."""
        return {
            i: np.concatenate([np.ravel(w) for w in layer.get_weights()])
            for i, layer in self.layers.items()
        }


def build(K: Any, what: Sub, seed: int) -> Built:
    """Build a model, with random values in all of its weights."""
    built = Built(None)
    known: dict[int, Any] = {}
    built.model = _sub(K, what, built.layers, known)
    if what.kind in ("list", "attributes"):
        built.model(tf.constant(PROBE))  # builds it
    built.fill(seed)
    return built


def _sub(K: Any, what: Sub, layers: dict[int, Any], known: dict[int, Any]) -> Any:
    if what.id in known:  # shared
        return known[what.id]
    inner = []
    if what.kind in ("list", "attributes"):
        # A number of the attribute is that of the layer, not that of its position.
        inner = [(each.id, _any(K, each, layers, known)) for each in what.layers]
        model = _sub_classed(K)(inner, what.kind == "list", **_named(what))
    elif what.kind == "sequential":
        inner = [_any(K, each, layers, known) for each in what.layers]
        model = K.Sequential([K.Input((4,)), *inner], **_named(what))
    else:
        inputs = K.Input((4,))
        outputs = [_any(K, each, layers, known)(inputs) for each in what.layers]
        flat = [each for out in outputs for each in (out if isinstance(out, list) else [out])]
        model = K.Model(inputs, flat, **_named(what))
    known[what.id] = model
    return model


def _any(K: Any, what: Leaf | Sub, layers: dict[int, Any], known: dict[int, Any]) -> Any:
    if isinstance(what, Sub):
        return _sub(K, what, layers, known)
    if what.id not in layers:
        if what.kind == "Dense":
            layers[what.id] = K.layers.Dense(what.units, activation="tanh", **_named(what))
        else:
            layers[what.id] = getattr(K.layers, what.kind)(**_named(what))
    return layers[what.id]


def _named(what: Leaf | Sub) -> dict[str, str]:
    return {} if what.name is None else {"name": what.name}


_CLASSES: dict[str, Any] = {}


def _sub_classed(K: Any) -> Any:
    if K.__name__ not in _CLASSES:

        class Branches(K.Model):  # type: ignore[misc]
            def __init__(self, inner: Any, in_list: bool, **options: Any) -> None:
                super().__init__(**options)
                if in_list:
                    self.branches = [each for _, each in inner]
                else:
                    for number, each in inner:
                        setattr(self, f"part{number}", each)
                self.inner = [f"part{n}" for n, _ in inner] if not in_list else None

            def call(self, x: Any) -> Any:
                names = self.inner
                found = self.branches if names is None else [getattr(self, n) for n in names]
                outs = [each(x) for each in found]
                return [each for out in outs for each in (out if isinstance(out, list) else [out])]

        _CLASSES[K.__name__] = Branches
    return _CLASSES[K.__name__]


# --- random structures ----------------------------------------------------------------------------


class Drawn:
    """Draws structures and changes. The same seed draws the same ones."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self._ids = 0

    def id(self) -> int:
        self._ids += 1
        return self._ids

    def leaf(self, name: str | None, units: int | None = None) -> Leaf:
        kind = self.rng.choices(("Dense", "LayerNormalization"), (4, 1))[0]
        return Leaf(self.id(), name, kind, units or self.rng.choice((4, 4, 4, 3)))

    def model(self, kind: str = "functional", depth: int = 1) -> Sub:
        """A model in which some layers have names that people gave."""
        share = self.rng.choice((0.0, 0.5, 1.0))  # of named layers
        names = list(NAMES)
        self.rng.shuffle(names)

        def name() -> str | None:
            return names.pop() if names and self.rng.random() < share else None

        layers: list[Leaf | Sub] = []
        for _ in range(self.rng.randint(2, 4)):
            if depth and self.rng.random() < 0.25:
                inner = self.model(self.rng.choice(("functional", "list", "attributes")), depth - 1)
                layers.append(replace(inner, name=name()))
            else:
                layers.append(self.leaf(name()))
        leaves = [each for each in layers if isinstance(each, Leaf)]
        subs = [each for each in layers if isinstance(each, Sub)]
        if leaves and subs and self.rng.random() < 0.3:  # a layer that two models share
            sub = subs[0]
            if leaves[0].name is None or leaves[0].name not in {e.name for e in sub.layers}:
                shared = replace(sub, layers=(*sub.layers, leaves[0]))
                layers[layers.index(sub)] = shared
        return Sub(self.id(), tuple(layers), None, kind)

    # --- changes ---

    def _at(self, what: Sub) -> tuple[int, ...]:
        """The path to a random model in a model."""
        subs = [i for i, each in enumerate(what.layers) if isinstance(each, Sub)]
        if subs and self.rng.random() < 0.4:
            at = self.rng.choice(subs)
            return (at, *self._at(what.layers[at]))  # type: ignore[arg-type]
        return ()

    def inserted(self, what: Sub, named: bool) -> Sub:
        """One layer more, anywhere."""
        new = self.leaf("extra" if named else None)
        return _changed(what, self._at(what), lambda each: self._put(each, new))

    def _put(self, layers: tuple[Any, ...], new: Any) -> tuple[Any, ...]:
        at = self.rng.randint(0, len(layers))
        return (*layers[:at], new, *layers[at:])

    def removed(self, what: Sub) -> Sub:
        """One layer less."""

        def without(layers: tuple[Any, ...]) -> tuple[Any, ...]:
            at = self.rng.randrange(len(layers))
            return layers[:at] + layers[at + 1 :] if len(layers) > 1 else layers

        return _changed(what, self._at(what), without)

    def swapped(self, what: Sub) -> Sub:
        """Two layers of one model in each other's positions, at least one with a name."""

        def change(layers: tuple[Any, ...]) -> tuple[Any, ...]:
            pairs = [
                (i, j)
                for i in range(len(layers))
                for j in range(i)
                if layers[i].name or layers[j].name
            ]
            if not pairs:
                return layers
            i, j = self.rng.choice(pairs)
            found = list(layers)
            found[i], found[j] = found[j], found[i]
            return tuple(found)

        return _changed(what, self._at(what), change)

    def replaced(self, what: Sub) -> Sub:
        """Another layer of equal shape in the place of one, under another name."""

        def change(layers: tuple[Any, ...]) -> tuple[Any, ...]:
            leaves = [i for i, each in enumerate(layers) if isinstance(each, Leaf)]
            if not leaves:
                return layers
            at = self.rng.choice(leaves)
            name = self.rng.choice(("other", None)) if layers[at].name else "other"
            return (*layers[:at], replace(layers[at], id=self.id(), name=name), *layers[at + 1 :])

        return _changed(what, self._at(what), change)

    def renamed(self, what: Sub) -> Sub:
        """A model within the model is replaced by one of equal structure with another name."""
        subs = [i for i, each in enumerate(what.layers) if isinstance(each, Sub)]
        if not subs:
            return what
        at = self.rng.choice(subs)
        new = self._new(what.layers[at])
        return replace(what, layers=(*what.layers[:at], new, *what.layers[at + 1 :]))

    def _new(self, what: Any) -> Sub:
        """The same structure with layers of its own."""
        inner = tuple(
            self._new(each) if isinstance(each, Sub) else replace(each, id=self.id())
            for each in what.layers
        )
        return replace(what, id=self.id(), layers=inner, name="other")

    def in_larger(self, what: Sub) -> Sub:
        """The whole model as a part of another one, with a layer beside it."""
        new = self.leaf(self.rng.choice(("extra", None)))
        outer = self._put((replace(what, name=self.rng.choice(("backbone", None))),), new)
        return Sub(self.id(), outer)


def _changed(what: Sub, path: tuple[int, ...], change: Any) -> Sub:
    if not path:
        return replace(what, layers=change(what.layers))
    at, *rest = path
    inner = _changed(what.layers[at], tuple(rest), change)  # type: ignore[arg-type]
    return replace(what, layers=(*what.layers[:at], inner, *what.layers[at + 1 :]))


def leaves(what: Sub) -> Iterator[Leaf]:
    for each in what.layers:
        if isinstance(each, Sub):
            yield from leaves(each)
        else:
            yield each
