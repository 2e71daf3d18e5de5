"""Plugins that raise, exit, or give what they should not: one error or warning that names them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import (
    Claim,
    Confidence,
    Extent,
    InitregWarning,
    OptimizerSpec,
    PluginError,
    StateSpec,
    VariableSpec,
    hookimpl,
)
from initreg.plugin.installed import default_registry
from initreg.plugin.registry import Registry


class Lazy:
    """Something like an array."""

    shape: Any = (3,)
    dtype = np.dtype("f4")
    aliases: Any = ()
    state: Any = None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.ones(3, "f4")


class Format:
    """A format that opens ``.zzz`` and gives what a test puts into ``found``."""

    found: Any = None

    @hookimpl
    def initreg_claim(self, source: initreg.Source) -> Claim | None:
        return Claim(Confidence.EXACT, "mine") if source.suffix == ".zzz" else None

    @hookimpl
    def initreg_open(self, source: initreg.Source, options: initreg.OpenOptions) -> Any:
        return self.found() if callable(self.found) else self.found


@pytest.fixture
def plugin() -> Iterator[Format]:
    registry, plugin = default_registry(), Format()
    record = registry.register(plugin, "stranger")
    assert record.broken is None
    yield plugin
    registry.manager.unregister(plugin)
    registry.records.remove(record)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "x.zzz"
    found.touch()
    return found


def _raises(error: BaseException) -> Any:
    def call(*_: Any, **__: Any) -> Any:
        raise error

    return call


def _lazy(**members: Any) -> Lazy:
    made: Lazy = type("Made", (Lazy,), members)()
    return made


# --- close() ---


@pytest.mark.parametrize(
    "error", [RuntimeError("no"), SystemExit(0), initreg.DamagedFile("no")], ids=repr
)
def test_close_that_fails(plugin: Format, path: Path, error: BaseException) -> None:
    """A restore is complete, and a warning says which plugin could not close the file."""
    plugin.found = type("Closes", (dict,), {"close": _raises(error)})(w=Lazy())
    target = {"w": np.zeros(3, "f4")}
    with pytest.warns(InitregWarning, match=r"format 'stranger' could not close it") as given:
        plan = initreg.SmartInit(path).init(target)
    assert type(error).__name__ in str(given[0].message)
    assert given[0].filename == __file__
    assert target["w"].tolist() == [1, 1, 1]
    assert [row.name for row in plan.restored] == ["w"]


def test_close_that_is_interrupted(plugin: Format, path: Path) -> None:
    """Ctrl-C is the user's, also in a plugin's ``close()``."""
    plugin.found = type("Closes", (dict,), {"close": _raises(KeyboardInterrupt())})(w=Lazy())
    with pytest.raises(KeyboardInterrupt):
        initreg.load(path)


def test_close_after_an_error(plugin: Format, path: Path) -> None:
    """A file that cannot be listed or planned is that error, whatever its ``close()`` raises."""
    closes = type("Closes", (dict,), {"close": _raises(SystemExit(0))})
    plugin.found = closes(w="not an array")
    with pytest.warns(InitregWarning, match=r"stranger"):
        with pytest.raises(initreg.DamagedFile, match=r"'w' has no usable shape"):
            initreg.open(path)
    plugin.found = closes(w=Lazy())
    with pytest.warns(InitregWarning, match=r"stranger"):
        with pytest.raises(initreg.MismatchError):
            initreg.SmartInit(path).init({"w": np.zeros(4, "f4")})


# --- sys.exit() ---


def _exits(*_: Any, **__: Any) -> Any:
    sys.exit(0)


@pytest.mark.parametrize(
    "found",
    [
        {"w": _lazy(__array__=_exits)},
        {"w": _lazy(shape=property(_exits))},
        {"w": _lazy(dtype=property(_exits))},
        {"w": _lazy(aliases=property(_exits))},
        type("Names", (dict,), {"items": _exits})(w=Lazy()),
        type("Length", (dict,), {"__len__": _exits})(w=Lazy()),
        type("Model", (dict,), {"parameters": property(_exits)})(w=Lazy()),
        _exits,
    ],
    ids=["array", "shape", "dtype", "aliases", "items", "len", "parameters", "open"],
)
def test_exit(plugin: Format, path: Path, found: Any) -> None:
    """``sys.exit()`` anywhere in a format is an error that names it, and writes nothing."""
    plugin.found = found
    target = {"w": np.zeros(3, "f4")}
    with pytest.raises(initreg.InitregError, match=r"stranger.*SystemExit: 0"):
        initreg.SmartInit(path).init(target)
    assert not target["w"].any()


def test_exit_in_a_slice(plugin: Format, path: Path) -> None:
    """A part of an array, and an array that rules change, are no other case."""
    plugin.found = {"w": _lazy(__array__=_exits, __getitem__=_exits)}
    with initreg.open(path) as arrays:
        with pytest.raises(PluginError, match=r"'stranger' would have ended the program.*'w'"):
            arrays["w"][1:2]
    with pytest.raises(PluginError, match=r"'stranger'"):
        initreg.load(path, slice={"w": (0, 1, 2)})


@pytest.mark.parametrize("method", ["variables", "write"])
def test_exit_in_a_target(method: str) -> None:
    """``sys.exit()`` in a target is an error that says what was written."""

    class Target:
        label = "my target"

        def variables(self) -> list[VariableSpec]:
            return [VariableSpec("w", (3,), "float32")]

        def write(self, arrays: Any) -> Iterator[str]:
            yield from (spec.name for spec, _ in arrays)

    target = Target()
    setattr(target, method, _exits)
    with pytest.raises(initreg.TargetError, match=r"my target.*SystemExit"):
        initreg.SmartInit({"w": np.ones(3, "f4")}).init(target)


def test_exit_by_a_signal(plugin: Format, path: Path) -> None:
    """A program that ends on SIGTERM ends, also if the signal comes while a plugin works."""

    def on_term(*_: Any) -> None:
        sys.exit(7)

    def read(*_: Any, **__: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return np.ones(3, "f4")

    before = signal.signal(signal.SIGTERM, on_term)
    try:
        plugin.found = {"w": _lazy(__array__=read)}
        with pytest.raises(SystemExit) as ended:
            initreg.SmartInit(path).init({"w": np.zeros(3, "f4")})
        assert ended.value.code == 7
        plugin.found = read
        with pytest.raises(SystemExit):
            initreg.open(path)
    finally:
        signal.signal(signal.SIGTERM, before)


# --- one str where a tuple of them is meant ---

_ADAM = OptimizerSpec(("optimizer",))


@pytest.mark.parametrize(
    "given",
    [b"abc", 3, {"a": 1}, (1, 2), iter("abc"), None],
    ids=lambda given: type(given).__name__,
)
def test_aliases(plugin: Format, path: Path, given: Any) -> None:
    """Aliases that are not a tuple of str are an error that names the plugin and the array."""
    plugin.found = {"w": _lazy(aliases=given)}
    with pytest.raises(PluginError, match=r"x.zzz: format 'stranger': array 'w': aliases"):
        initreg.open(path)


def test_one_alias(plugin: Format, path: Path) -> None:
    """A str is one alias, of an extent and of any other array, and not one for each letter."""
    path.write_bytes(bytes(12))
    extent = Extent(path, 0, 12, (3,), "float32", aliases="abc")  # type: ignore[arg-type]
    plugin.found = {"v": extent, "w": _lazy(aliases=initreg.Place("a/b"))}
    with initreg.open(path) as arrays:
        assert arrays["v"].aliases == ("abc",)
        assert arrays["w"].aliases == ("a/b",)
        assert arrays["w"].spec.places == ("a/b",)


@pytest.mark.parametrize("given", [("a", "b"), ["a", "b"], {"a": 1, "b": 2}.keys()], ids=repr)
def test_collections_of_aliases(plugin: Format, path: Path, given: Any) -> None:
    """Any collection of str will do."""
    plugin.found = {"w": _lazy(aliases=given)}
    with initreg.open(path) as arrays:
        assert arrays["w"].aliases == ("a", "b")


@pytest.mark.parametrize(
    ("state", "field"),
    [
        (StateSpec(_ADAM, "1 of 2"), "StateSpec.at"),  # type: ignore[arg-type]
        (StateSpec(OptimizerSpec("adam"), ("1",)), "OptimizerSpec.places"),  # type: ignore[arg-type]
        (StateSpec(OptimizerSpec(("a",), "Adam"), ("1",)), "OptimizerSpec.classes"),  # type: ignore[arg-type]
        (StateSpec(OptimizerSpec(("a",), names="b"), ("1",)), "OptimizerSpec.names"),  # type: ignore[arg-type]
        (StateSpec(OptimizerSpec(("a",), automatic=("b",)), ("1",)), "OptimizerSpec.automatic"),  # type: ignore[arg-type]
    ],
)
def test_fields_of_states(plugin: Format, path: Path, state: StateSpec, field: str) -> None:
    """So are the fields of optimizers and of their state, of arrays and of variables."""
    plugin.found = {"w": _lazy(state=state)}
    with pytest.raises(PluginError, match=rf"'stranger': array 'w': {field}: .* not a tuple"):
        initreg.open(path)
    target = _Target(VariableSpec("w", (3,), "float32", state=state))
    with pytest.raises(PluginError, match=rf"my target: variable 'w': {field}"):
        initreg.SmartInit({"w": np.ones(3, "f4")}).plan(target)


class _Target:
    label = "my target"

    def __init__(self, spec: VariableSpec) -> None:
        self.spec = spec

    def variables(self) -> list[VariableSpec]:
        return [self.spec]

    def write(self, arrays: Any) -> Iterator[str]:
        yield from (spec.name for spec, _ in arrays)


@pytest.mark.parametrize("field", ["aliases", "places", "automatic", "not_needed_with"])
def test_fields_of_variables(field: str) -> None:
    """The names of a variable are a tuple, too."""
    target = _Target(VariableSpec("w", (3,), "float32", **{field: "abc"}))
    with pytest.raises(PluginError, match=rf"my target: variable 'w': VariableSpec.{field}: 'abc'"):
        initreg.SmartInit({"w": np.ones(3, "f4")}).plan(target)


def test_parameters(plugin: Format, path: Path) -> None:
    """``parameters`` of a mapping is a tuple, and was ignored if it was a str."""
    plugin.found = type("Model", (dict,), {"parameters": "w"})(w=Lazy())
    with pytest.raises(
        PluginError, match=r"format 'stranger': the mapping's parameters: 'w' is not"
    ):
        initreg.open(path)


def test_shape_that_is_a_str(plugin: Format, path: Path) -> None:
    """The shape "23" is not (2, 3)."""
    plugin.found = {"w": _lazy(shape="3")}
    with pytest.raises(initreg.DamagedFile, match=r"'w' has no usable shape"):
        initreg.open(path)


@pytest.mark.parametrize(
    "attribute", ["initreg_endings", "initreg_parameter_files", "initreg_requires"]
)
def test_attributes_of_a_plugin(attribute: str) -> None:
    """A str is refused when the plugin is registered, and its record says why."""

    class Writes(Format):
        @hookimpl
        def initreg_save(self, arrays: Any, output: Any, options: Any) -> None: ...

    plugin = Writes()
    setattr(plugin, attribute, ".meta")
    record = Registry([]).register(plugin, "stranger")
    assert record.kinds == ()
    assert f"breaks the contract: PluginError: {attribute} is '.meta', not a" in str(record.broken)


# --- what does not end, and what lies ---


def test_mapping_without_an_end(plugin: Format, path: Path) -> None:
    """A mapping that gives more names than it says is an error, and its names are not awaited."""

    class Endless(Mapping[str, Any]):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, name: str) -> Any:
            return Lazy()

        def __iter__(self) -> Iterator[str]:
            number = 0
            while True:
                yield f"w{number}"
                number += 1

    plugin.found = Endless
    with pytest.raises(PluginError, match=r"'stranger': its mapping says that it has 2 arrays"):
        initreg.open(path)


@pytest.mark.parametrize(
    "read", [np.ones(4, "f4"), np.ones((3, 1), "f4"), np.ones(3, "f8"), "abc", None], ids=repr
)
def test_shape_that_is_not_so(plugin: Format, path: Path, read: Any) -> None:
    """An array that reads otherwise than it was announced is an error, and writes nothing."""
    plugin.found = {"w": _lazy(__array__=lambda *_, **__: read)}
    target = {"w": np.zeros(3, "f4")}
    with pytest.raises(initreg.DamagedFile, match=r"array 'w' (was announced as|cannot be read)"):
        initreg.SmartInit(path).init(target)
    assert not target["w"].any()


def test_shape_that_changes(plugin: Format, path: Path) -> None:
    """What was announced at first counts."""
    shapes = iter([(3,), (3,), (3,)])
    plugin.found = {
        "w": _lazy(
            shape=property(lambda _: next(shapes, (4,))),
            __array__=lambda *_, **__: np.ones(4, "f4"),
        )
    }
    with initreg.open(path) as arrays:
        for _ in range(4):
            assert arrays["w"].shape == (3,)
            with pytest.raises(initreg.DamagedFile, match=r"announced as"):
                arrays["w"].read()
